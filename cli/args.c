// SPDX-License-Identifier: MIT
#include "cli/args.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/out.h"
#include "cli/report.h"

const char *const cli_kv_types[] = {"f16", "f32", "q8_0", NULL};

CLI_FORMAT(2, 3)
static int wrong(const cli_command *command, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return cli_fail(CLI_USAGE, "%s: %s (see inkling %s --help)", command->name, message,
                    command->name);
}

static int out_of_range(const cli_command *command, const cli_option *option, const char *name,
                        const char *text) {
    return wrong(command, "%s %.100s is out of range, %.16g to %.16g", name, text, option->low,
                 option->high);
}

static int read_uint(const cli_command *command, const cli_option *option, const char *name,
                     const char *text) {
    if (option->minus_one && strcmp(text, "-1") == 0) text = "4294967295";
    const size_t digits = strspn(text + (text[0] == '-'), "0123456789");
    if (digits == 0 || text[(text[0] == '-') + digits] != 0)
        return wrong(command, "%s needs a whole number, not \"%.100s\"", name, text);
    uint64_t value = 0;
    bool over = text[0] == '-' && strspn(text + 1, "0") != digits;
    for (const char *p = text + (text[0] == '-'); *p != 0 && !over; p++) {
        const unsigned digit = (unsigned)(*p - '0');
        over = value > (UINT64_MAX - digit) / 10;
        value = value * 10 + digit;
    }
    if (over || (double)value < option->low || (double)value > option->high)
        return out_of_range(command, option, name, text);
    *(cli_uint *)option->target = (cli_uint){value, true};
    return CLI_OK;
}

static int read_real(const cli_command *command, const cli_option *option, const char *name,
                     const char *text) {
    // strtod would also take blanks, "nan" and hexadecimal digits. The program never leaves the "C"
    // locale, so the decimal point is a point.
    char *end = NULL;
    double value = 0;
    if (text[0] != 0 && strspn(text, "0123456789+-.eE") == strlen(text)) value = strtod(text, &end);
    if (end == NULL || end == text || *end != 0)
        return wrong(command, "%s needs a number, not \"%.100s\"", name, text);
    if (!isfinite(value) || value < option->low || value > option->high)
        return out_of_range(command, option, name, text);
    *(cli_real *)option->target = (cli_real){value, true};
    return CLI_OK;
}

static void join_choices(const cli_option *option, const char *between, char *out, size_t cap) {
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; option->choices[i] != NULL && at < cap; i++)
        at +=
            (size_t)snprintf(out + at, cap - at, "%s%s", i == 0 ? "" : between, option->choices[i]);
}

static int read_choice(const cli_command *command, const cli_option *option, const char *name,
                       const char *text) {
    for (unsigned i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(text, option->choices[i]) == 0) {
            *(cli_choice *)option->target = (cli_choice){i, true};
            return CLI_OK;
        }
    }
    char known[128];
    join_choices(option, ", ", known, sizeof known);
    return wrong(command, "%s \"%.100s\" is none of %s", name, text, known);
}

static int store(const cli_command *command, const cli_option *option, const char *name,
                 const char *text) {
    switch (option->kind) {
    case CLI_FLAG: *(bool *)option->target = true; return CLI_OK;
    case CLI_TEXT: *(const char **)option->target = text; return CLI_OK;
    case CLI_LIST: {
        cli_list *list = option->target;
        const char **grown = realloc(list->items, (list->n + 1) * sizeof *grown);
        if (grown == NULL) return cli_fail_memory();
        list->items = grown;
        list->items[list->n++] = text;
        return CLI_OK;
    }
    case CLI_UINT: return read_uint(command, option, name, text);
    case CLI_REAL: return read_real(command, option, name, text);
    case CLI_CHOICE: return read_choice(command, option, name, text);
    case CLI_HEADING: break;
    }
    return CLI_OTHER;
}

static const cli_option *by_name(const cli_command *command, const char *name, size_t n) {
    for (size_t i = 0; i < command->n_options; i++) {
        const char *have = command->options[i].name;
        if (have != NULL && strlen(have) == n && memcmp(have, name, n) == 0)
            return &command->options[i];
    }
    return NULL;
}

static const cli_option *by_letter(const cli_command *command, char letter) {
    for (size_t i = 0; i < command->n_options && letter != 0; i++)
        if (command->options[i].letter == letter) return &command->options[i];
    return NULL;
}

// "--name", "--name=value", "--name value". *i moves over a value that is taken from argv.
static int read_long(const cli_command *command, int argc, char **argv, int *i) {
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    const size_t n = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    char name[128];
    snprintf(name, sizeof name, "%.*s", n < 100 ? (int)n : 100, arg);
    const cli_option *option = by_name(command, arg + 2, n - 2);
    if (option == NULL) return wrong(command, "unknown option %s", name);
    if (option->kind == CLI_FLAG) {
        if (equals != NULL)
            return wrong(command, "%s takes no value, found \"%.100s\"", name, equals + 1);
        return store(command, option, name, NULL);
    }
    if (equals != NULL) return store(command, option, name, equals + 1);
    if (*i + 1 >= argc) return wrong(command, "%s needs a value", name);
    return store(command, option, name, argv[++*i]);
}

// "-n 5", "-n5".
static int read_short(const cli_command *command, int argc, char **argv, int *i) {
    const char *arg = argv[*i];
    const char name[3] = {'-', arg[1], 0};
    const cli_option *option = by_letter(command, arg[1]);
    if (option == NULL)
        return wrong(command,
                     "unknown option %.100s; write -- before an argument that begins with -", arg);
    if (option->kind == CLI_FLAG) {
        if (arg[2] != 0)
            return wrong(command, "%s takes no value, found \"%.100s\"", name, arg + 2);
        return store(command, option, name, NULL);
    }
    if (arg[2] != 0) return store(command, option, name, arg + 2);
    if (*i + 1 >= argc) return wrong(command, "%s needs a value", name);
    return store(command, option, name, argv[++*i]);
}

static void free_lists(const cli_command *command) {
    for (size_t i = 0; i < command->n_options; i++) {
        if (command->options[i].kind != CLI_LIST) continue;
        cli_list *list = command->options[i].target;
        free((void *)list->items);
        *list = (cli_list){NULL, 0};
    }
}

static int read_all(const cli_command *command, int argc, char **argv, size_t *n_args, bool *help) {
    bool options = true;
    for (int i = 0; i < argc; i++) {
        int code = CLI_OK;
        if (!options || argv[i][0] != '-' || argv[i][1] == 0) {
            argv[(*n_args)++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            *help = true;
            return CLI_OK;
        } else if (argv[i][1] == '-') {
            code = read_long(command, argc, argv, &i);
        } else {
            code = read_short(command, argc, argv, &i);
        }
        if (code != CLI_OK) return code;
    }
    if (*n_args < command->min_args) return wrong(command, "%s is missing", command->argument);
    if (*n_args > command->max_args)
        return wrong(command, "one argument too many: \"%.100s\"%s", argv[command->max_args],
                     command->max_args == 1 ? "; put quotes around text with blanks" : "");
    return CLI_OK;
}

int cli_command_run(const cli_command *command, int argc, char **argv) {
    size_t n_args = 0;
    bool help = false;
    command->defaults();
    int code = read_all(command, argc, argv, &n_args, &help);
    if (help) {
        // The defaults that --help shows are not those that an option before it has changed.
        free_lists(command);
        command->defaults();
        cli_command_help(command);
    } else if (code == CLI_OK) {
        code = command->run(argv, n_args);
    }
    free_lists(command);
    return code;
}

bool cli_command_given(const cli_command *command, const char *name) {
    const cli_option *option = by_name(command, name, strlen(name));
    if (option == NULL) return false;
    switch (option->kind) {
    case CLI_FLAG: return *(const bool *)option->target;
    case CLI_TEXT: return *(const char *const *)option->target != NULL;
    case CLI_LIST: return ((const cli_list *)option->target)->n > 0;
    case CLI_UINT: return ((const cli_uint *)option->target)->set;
    case CLI_REAL: return ((const cli_real *)option->target)->set;
    case CLI_CHOICE: return ((const cli_choice *)option->target)->set;
    case CLI_HEADING: break;
    }
    return false;
}

// --- help -----------------------------------------------------------------------------------

static void default_text(const cli_option *option, char *out, size_t cap) {
    out[0] = 0;
    if (!option->show_default) return;
    switch (option->kind) {
    case CLI_UINT: {
        const uint64_t value = ((const cli_uint *)option->target)->value;
        if (option->minus_one && value == UINT32_MAX)
            snprintf(out, cap, " (default -1)");
        else
            snprintf(out, cap, " (default %llu)", (unsigned long long)value);
        break;
    }
    case CLI_REAL:
        snprintf(out, cap, " (default %.6g)", ((const cli_real *)option->target)->value);
        break;
    case CLI_CHOICE:
        snprintf(out, cap, " (default %s)",
                 option->choices[((const cli_choice *)option->target)->value]);
        break;
    default: break;
    }
}

enum { HELP_COLUMN = 28, HELP_WIDTH = 96 };

// Prints the words of `text` from HELP_COLUMN on; a '\n' in it begins a new line there.
static void wrap(const char *text, size_t at) {
    size_t column = HELP_COLUMN;
    cli_out("%*s", at < HELP_COLUMN ? (int)(HELP_COLUMN - at) : 0, "");
    while (*text != 0) {
        const size_t word = strcspn(text, " \n");
        if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
            cli_out("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            cli_out(" ");
            column++;
        }
        cli_out_bytes(text, word);
        column += word;
        text += word;
        if (*text == '\n') {
            cli_out("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        text += *text != 0;
    }
    cli_out("\n");
}

static void option_help(const cli_option *option) {
    char left[128], value[96] = "", right[768], by_default[64];
    if (option->kind == CLI_CHOICE)
        join_choices(option, "|", value, sizeof value);
    else if (option->value != NULL)
        snprintf(value, sizeof value, "%s", option->value);
    const char letter[3] = {'-', option->letter, 0};
    const int n =
        snprintf(left, sizeof left, "  %s%s --%s%s%s", option->letter != 0 ? letter : "  ",
                 option->letter != 0 ? "," : " ", option->name, value[0] != 0 ? " " : "", value);
    default_text(option, by_default, sizeof by_default);
    snprintf(right, sizeof right, "%s%s", option->help, by_default);
    cli_out("%s", left);
    if (n >= HELP_COLUMN) cli_out("\n");
    wrap(right, n >= HELP_COLUMN ? 0 : (size_t)n);
}

void cli_command_help(const cli_command *command) {
    static const cli_option help = {
        .name = "help", .letter = 'h', .kind = CLI_FLAG, .help = "print this and end"};
    cli_out("Usage: inkling %s %s\n\n%s\n\n", command->name, command->synopsis, command->summary);
    if (command->details[0] != 0) cli_out_bytes(command->details, strlen(command->details));
    cli_out("%sOptions:\n", command->details[0] != 0 ? "\n" : "");
    // --help is one of those that stand first.
    bool helped = false;
    for (size_t i = 0; i < command->n_options; i++) {
        const cli_option *option = &command->options[i];
        if (option->kind != CLI_HEADING) {
            if (!option->hidden) option_help(option);
            continue;
        }
        if (!helped) option_help(&help);
        helped = true;
        cli_out("\n%s\n", option->help);
    }
    if (!helped) option_help(&help);
    cli_out("\n%s", cli_exit_help);
}
