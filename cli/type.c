// SPDX-License-Identifier: MIT
// inkling type: a small editor with ghost text behind the caret.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/load.h"
#include "cli/report.h"
#include "cli/type_loop.h"

static const char *const until_names[] = {"length",    "word", "sentence", "line",
                                          "paragraph", NULL}; // in the order of INK_UNTIL_*

static struct {
    const char *model, *filter;
    cli_list loras;
    cli_uint context, threads, max_tokens, window_words, alternatives;
    cli_choice until;
    bool no_ghost;
} set;

static const cli_option options[] = {
    CLI_OPTION_MODEL(&set.model),
    CLI_OPTION_LORA(&set.loras),
    {.name = "tokens",
     .letter = 'n',
     .kind = CLI_UINT,
     .target = &set.max_tokens,
     .value = "N",
     .low = 1,
     .high = 256,
     .show_default = true,
     .help = "longest suggestion"},
    {.name = "until",
     .kind = CLI_CHOICE,
     .target = &set.until,
     .choices = until_names,
     .show_default = true,
     .help = "where a suggestion ends, if its length does not end it before"},
    {.name = "window-words",
     .kind = CLI_UINT,
     .target = &set.window_words,
     .value = "N",
     .high = 1 << 20,
     .show_default = true,
     .help = "read at most N words before the caret; 0: as many as the context holds"},
    {.name = "alternatives",
     .kind = CLI_UINT,
     .target = &set.alternatives,
     .value = "N",
     .low = 1,
     .high = 8,
     .show_default = true,
     .help = "suggestions made at a time, which Ctrl-N goes through"},
    {.name = "filter",
     .kind = CLI_TEXT,
     .target = &set.filter,
     .value = "FILE",
     .help = "words and phrases, one a line, that are never suggested; while the text before the "
             "caret holds one, nothing is"},
    {.name = "no-ghost",
     .kind = CLI_FLAG,
     .target = &set.no_ghost,
     .help = "only the editor; no model is loaded"},
    {.name = "context",
     .kind = CLI_UINT,
     .target = &set.context,
     .value = "N",
     .low = 1,
     .high = 1 << 20,
     .help = "positions of the context; without it 256, or the model's where it has less"},
    CLI_OPTION_THREADS(&set.threads),
};

static void defaults(void) {
    ink_typing_options typing;
    ink_typing_options_init(&typing, sizeof typing);
    memset(&set, 0, sizeof set);
    set.max_tokens.value = typing.max_tokens;
    set.until.value = typing.until;
    set.window_words.value = typing.window_words;
    set.alternatives.value = typing.n_alternatives;
}

#if CLI_HAS_CURSES

static const char *model_name(void) {
    if (set.model == NULL) return "builtin:story";
    const char *slash = strrchr(set.model, '/');
    return slash != NULL ? slash + 1 : set.model;
}

static int run(char **args, size_t n_args) {
    type_session session = {.ghosts = !set.no_ghost, .model = model_name()};
    cli_bytes text;
    ink_filter *filter = NULL;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return cli_fail(CLI_USAGE, "type: standard input and output must be a terminal");
    int code = cli_source_check(set.model);
    if (code != CLI_OK) return code;
    code = type_file_read(&session.file, n_args > 0 ? args[0] : NULL, TYPE_MAX_BYTES, &text);
    if (code != CLI_OK) return code;
    if (!type_editor_load(&session.editor, text.data, text.n)) code = cli_fail_memory();
    free(text.data);
    if (code == CLI_OK) code = cli_read_filter(set.filter, NULL, &filter);
    if (code == CLI_OK) {
        type_ghost_settings *settings = &session.settings;
        settings->source = cli_source(set.model);
        settings->loras = &set.loras;
        settings->n_threads = (uint32_t)set.threads.value;
        ink_typing_options_init(&settings->typing, sizeof settings->typing);
        settings->typing.n_ctx = (uint32_t)set.context.value;
        settings->typing.max_tokens = (uint32_t)set.max_tokens.value;
        settings->typing.until = set.until.value;
        settings->typing.window_words = (uint32_t)set.window_words.value;
        settings->typing.n_alternatives = (uint32_t)set.alternatives.value;
        settings->typing.filter = filter;
        code = type_loop(&session);
    }
    ink_filter_unref(filter);
    type_editor_free(&session.editor);
    return code;
}

#else

static int run(char **args, size_t n_args) {
    (void)args;
    (void)n_args;
    return cli_fail(CLI_OTHER, "type: this program was built without ncursesw, which it needs");
}

#endif

const cli_command cli_type_command = {
    .name = "type",
    .synopsis = "[-m MODEL] [options] [FILE]",
    .summary = "An editor that shows in grey how your text may go on",
    .details =
        "FILE, a text in UTF-8 of at most 64 MB, is saved with Ctrl-S and at the end; it may be "
        "new. Without\n"
        "it the text is printed at the end. A signal that ends the program (SIGTERM, SIGHUP, "
        "SIGINT), and\n"
        "the loss of the terminal, save it too, with exit code 130; where there is nowhere else, "
        "in a new\n"
        "file inkling-type-XXXXXX in the working directory, the home or the temporary folder.\n"
        "\n"
        "Keys:\n"
        "  Tab                       take the grey text; without one, a tab\n"
        "  Ctrl-Right                take its first word; without one, go a word on\n"
        "  Ctrl-N                    another one\n"
        "  Esc                       none here\n"
        "  Ctrl-Z, Ctrl-Y            undo (newest first, suggestions taken too), do it again\n"
        "  arrows, Home, End, Page Up, Page Down, Ctrl-Left, Ctrl-Home, Ctrl-End\n"
        "  Backspace, Delete, Ctrl-W (the word before), Enter\n"
        "  Ctrl-S                    save\n"
        "  Ctrl-Q, Ctrl-X            save and end; so does Ctrl-D where the text is empty\n"
        "  Ctrl-L, Ctrl-G            draw the screen again, show the keys\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "FILE",
    .min_args = 0,
    .max_args = 1,
    .defaults = defaults,
    .run = run,
};
