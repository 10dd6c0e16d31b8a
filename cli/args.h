// SPDX-License-Identifier: MIT
// The options of a sub-command: one table for reading them and for --help.
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cli_uint {
    uint64_t value;
    bool set; // given on the command line
} cli_uint;
typedef struct cli_real {
    double value;
    bool set;
} cli_real;
typedef struct cli_choice {
    unsigned value; // index into the option's choices
    bool set;
} cli_choice;
typedef struct cli_list {
    const char **items;
    size_t n;
} cli_list;

typedef enum cli_kind {
    CLI_FLAG,   // bool
    CLI_TEXT,   // const char *
    CLI_LIST,   // cli_list, repeatable
    CLI_UINT,   // cli_uint from low to high
    CLI_REAL,   // cli_real from low to high
    CLI_CHOICE, // cli_choice
    CLI_HEADING // none: `help` stands over the options that follow, in --help
} cli_kind;

typedef struct cli_option {
    const char *name;  // without the dashes
    char letter;       // short form, 0: none
    bool show_default; // --help adds the value that *target has by default
    cli_kind kind;
    const char *value; // what --help calls the value; NULL for CLI_FLAG and CLI_CHOICE
    const char *help;  // lines separated by '\n'
    void *target;
    double low, high;           // both allowed; exact as long as they stay below 2^53
    const char *const *choices; // NULL-terminated
    bool minus_one;             // CLI_UINT: -1 stands for UINT32_MAX, "all of it"
    bool hidden;                // --help does not have it
} cli_option;

typedef struct cli_command {
    const char *name;
    const char *synopsis;      // "[-m MODEL] [options] PROMPT|-"
    const char *summary;       // one line
    const char *details;       // paragraphs with final newlines; "" for none
    const cli_option *options; // --help is added to them
    size_t n_options;
    const char *argument; // what a missing argument is called, "PROMPT"
    size_t min_args, max_args;
    void (*defaults)(void);                 // fills the targets, before --help or reading
    int (*run)(char **args, size_t n_args); // returns the exit code
} cli_command;

// Reads argv [argc] (behind the sub-command's name) and runs the command. The arguments are moved
// to the front of argv. Returns the exit code; a wrong option is told in one line with CLI_USAGE.
int cli_command_run(const cli_command *command, int argc, char **argv);
void cli_command_help(const cli_command *command);
// Whether the option of this name was given. For CLI_TEXT: whether its target is not NULL.
bool cli_command_given(const cli_command *command, const char *option);

// The options that several sub-commands share.
#define CLI_OPTION_MODEL(where)                                                                    \
    {                                                                                              \
        .name = "model", .letter = 'm', .kind = CLI_TEXT, .value = "MODEL", .target = (where),     \
        .help = "a GGUF file, or builtin:NAME; without it the built-in model (builtin:story)"      \
    }
#define CLI_OPTION_THREADS(where)                                                                  \
    {                                                                                              \
        .name = "threads", .kind = CLI_UINT, .value = "N", .target = (where), .low = 1,            \
        .high = 64, .help = "threads, 1 to 64; without it one for each processor, also the most"   \
    }
#define CLI_OPTION_CONTEXT(where)                                                                  \
    {                                                                                              \
        .name = "context", .kind = CLI_UINT, .value = "N", .target = (where), .low = 1,            \
        .high = 1 << 20, .help = "positions of the context; without it as many as the model has"   \
    }
#define CLI_OPTION_KV_TYPE(where)                                                                  \
    {                                                                                              \
        .name = "kv-type", .kind = CLI_CHOICE, .choices = cli_kv_types, .target = (where),         \
        .show_default = true, .help = "how keys and values are kept"                               \
    }
#define CLI_OPTION_LORA(where)                                                                     \
    {                                                                                              \
        .name = "lora", .kind = CLI_LIST, .value = "FILE[:SCALE]", .target = (where),              \
        .help = "an adapter, and how much it counts (1: as it was trained); may be given several " \
                "times"                                                                            \
    }
#define CLI_OPTION_JSON(where, text)                                                               \
    { .name = "json", .kind = CLI_FLAG, .target = (where), .help = (text) }
extern const char *const cli_kv_types[]; // in the order of INK_KV_*

#endif
