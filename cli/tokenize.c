// SPDX-License-Identifier: MIT
// inkling tokenize: text to token ids, and back.
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/text.h"

static struct {
    const char *model;
    bool decode, special;
} set;

static const cli_option options[] = {
    CLI_OPTION_MODEL(&set.model),
    {.name = "decode",
     .kind = CLI_FLAG,
     .target = &set.decode,
     .help = "the arguments are token ids, their bytes are written"},
    {.name = "special",
     .kind = CLI_FLAG,
     .target = &set.special,
     .help = "read special tokens (<|endoftext|>) in the text, write them with --decode; "
             "otherwise they are plain text and nothing"},
};

static void defaults(void) { memset(&set, 0, sizeof set); }

static int print_token(const ink_model *model, ink_token id, cli_bytes *piece) {
    size_t n = 0;
    const int code = cli_token_text(model, id, piece, &n);
    if (code != CLI_OK) return code;
    char *quoted = cli_text_quote(piece->data, n);
    if (quoted == NULL) return cli_fail_memory();
    cli_out("%d\t", (int)id);
    cli_out_bytes(quoted, strlen(quoted));
    cli_out("\n");
    free(quoted);
    return CLI_OK;
}

static int encode(const ink_model *model, const cli_bytes *text) {
    ink_token *ids = NULL;
    size_t n = 0;
    cli_bytes piece = {NULL, 0};
    int code = cli_tokenize(model, text->data, text->n, set.special ? INK_TOKENIZE_SPECIAL : 0,
                            &ids, &n, NULL);
    for (size_t i = 0; i < n && code == CLI_OK; i++) code = print_token(model, ids[i], &piece);
    free(ids);
    free(piece.data);
    return code;
}

typedef struct id_list {
    ink_token *ids;
    size_t n, cap;
} id_list;

// Ids between blanks and commas.
static int read_ids(const char *text, size_t bytes, id_list *list) {
    for (size_t i = 0; i < bytes;) {
        if (text[i] != 0 && strchr(" \t\r\n,", text[i]) != NULL) {
            i++;
            continue;
        }
        const size_t begin = i;
        uint64_t id = 0;
        while (i < bytes && text[i] >= '0' && text[i] <= '9' && id <= INT32_MAX)
            id = id * 10 + (uint64_t)(text[i++] - '0');
        const int ends = i == bytes || (text[i] != 0 && strchr(" \t\r\n,", text[i]) != NULL);
        if (i == begin || !ends || id > INT32_MAX)
            return cli_fail(CLI_USAGE,
                            "tokenize: \"%.*s\" is not a token id (see inkling tokenize --help)",
                            (int)(bytes - begin < 20 ? bytes - begin : 20), text + begin);
        if (list->n == list->cap) {
            const size_t cap = list->cap == 0 ? 256 : list->cap * 2;
            ink_token *grown = realloc(list->ids, cap * sizeof *grown);
            if (grown == NULL) return cli_fail_memory();
            list->ids = grown;
            list->cap = cap;
        }
        list->ids[list->n++] = (ink_token)id;
    }
    return CLI_OK;
}

static int decode(const ink_model *model, const id_list *list) {
    const uint32_t flags = set.special ? INK_DETOKENIZE_SPECIAL : 0;
    ink_model_info info = {.size = sizeof info};
    size_t n = 0;
    ink_status status = ink_model_get_info(model, &info);
    if (status != INK_OK) return cli_fail_ink(status, NULL);
    for (size_t i = 0; i < list->n; i++)
        if ((uint32_t)list->ids[i] >= info.n_vocab)
            return cli_fail(CLI_USAGE, "tokenize: token id %d is outside the vocabulary, 0 to %u",
                            (int)list->ids[i], (unsigned)info.n_vocab - 1);
    status = ink_detokenize(model, list->ids, list->n, flags, NULL, 0, &n);
    if (status != INK_OK && status != INK_E_SPACE) return cli_fail_ink(status, NULL);
    char *text = malloc(n + 1);
    if (text == NULL) return cli_fail_memory();
    status = ink_detokenize(model, list->ids, list->n, flags, text, n, &n);
    if (status == INK_OK) cli_out_bytes(text, n);
    free(text);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, NULL);
}

static int run_decode(const ink_model *model, char **args, size_t n_args) {
    id_list list = {0};
    int code = CLI_OK;
    for (size_t i = 0; i < n_args && code == CLI_OK; i++) {
        cli_bytes text = {0};
        code = cli_read_text(args[i], &text);
        if (code == CLI_OK) code = read_ids(text.data, text.n, &list);
        free(text.data);
    }
    if (code == CLI_OK) code = decode(model, &list);
    free(list.ids);
    return code;
}

static int run(char **args, size_t n_args) {
    ink_model *model = NULL;
    cli_bytes text = {0};
    if (!set.decode && n_args > 1)
        return cli_fail(
            CLI_USAGE,
            "tokenize: one argument too many: \"%.100s\"; put quotes around text with blanks "
            "(see inkling tokenize --help)",
            args[1]);
    int code = cli_model_open(&model, set.model, 1, 0);
    if (code == CLI_OK && set.decode) {
        code = run_decode(model, args, n_args);
    } else if (code == CLI_OK) {
        code = cli_read_text(args[0], &text);
        if (code == CLI_OK) code = encode(model, &text);
    }
    free(text.data);
    ink_model_unref(model);
    return code;
}

const cli_command cli_tokenize_command = {
    .name = "tokenize",
    .synopsis = "[-m MODEL] [--decode] TEXT|-",
    .summary = "Shows the tokens of a text, or the text of tokens",
    .details = "Prints a line for each token: its id, a tab, its piece of the text as a JSON "
               "string. A piece that\n"
               "is only a part of a UTF-8 character shows U+FFFD for each such byte: the id is "
               "what counts, and\n"
               "--decode gives the exact bytes back. \"-\" reads standard input, at most 64 MB; "
               "with --decode there\n"
               "may be several arguments, ids stand between blanks or commas.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "TEXT",
    .min_args = 1,
    .max_args = (size_t)-1,
    .defaults = defaults,
    .run = run,
};
