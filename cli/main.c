// SPDX-License-Identifier: MIT
// The `inkling` program: finds the sub-command and hands over.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/out.h"
#include "cli/report.h"

static const cli_command *const commands[] = {
    &cli_complete_command, &cli_type_command,
#if CLI_HAS_SERVER
    &cli_serve_command,
#endif
    &cli_tokenize_command, &cli_inspect_command,    &cli_convert_command,
    &cli_quantize_command, &cli_merge_command,      &cli_train_command,
    &cli_score_command,    &cli_perplexity_command, &cli_bench_command};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static const cli_command *find(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(name, commands[i]->name) == 0) return commands[i];
    return NULL;
}

static void overview(void) {
    cli_out("inkling %s: turns a model file into words, on the device, offline\n\nUsage:\n",
            ink_version());
    for (size_t i = 0; i < N_COMMANDS; i++)
        cli_out("  inkling %-10s %s\n", commands[i]->name, commands[i]->synopsis);
    cli_out("  inkling help [COMMAND]\n  inkling --version\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        cli_out("  %-12s%s\n", commands[i]->name, commands[i]->summary);
    cli_out(
        "\n\"inkling COMMAND --help\" has the options of each.\n\n%s\n"
        "Environment:\n"
        "  INKLING_CPU  highest instruction-set level to use: portable, avx2, avx512, avx512vnni\n"
        "               or portable, neon, dotprod, i8mm; without it all that the machine has\n",
        cli_exit_help);
}

static int unknown(const char *name) {
    return cli_fail(CLI_USAGE, "unknown %s \"%.100s\" (see inkling --help)",
                    name[0] == '-' ? "option" : "command", name);
}

static int help(int argc, char **argv) {
    if (argc > 1)
        return cli_fail(CLI_USAGE, "help: one argument too many: \"%.100s\" (see inkling --help)",
                        argv[1]);
    if (argc == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "help") == 0) {
        overview();
        return CLI_OK;
    }
    char *only_help[] = {(char[]){"--help"}};
    const cli_command *command = find(argv[0]);
    return command == NULL ? unknown(argv[0]) : cli_command_run(command, 1, only_help);
}

static int dispatch(int argc, char **argv) {
    if (argc < 2)
        return cli_fail(CLI_USAGE,
                        "a command is missing: complete, type, serve, tokenize, "
                        "inspect, convert, quantize, merge, train, score, perplexity or bench "
                        "(see inkling --help)");
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help(argc - 2, argv + 2);
    if (strcmp(name, "--version") == 0) {
        if (argc > 2)
            return cli_fail(CLI_USAGE, "--version takes no argument (see inkling --help)");
        cli_out("inkling %s\n", ink_version());
        return CLI_OK;
    }
#if !CLI_HAS_SERVER
    if (strcmp(name, "serve") == 0)
        return cli_fail(CLI_OTHER,
                        "serve: this program was built without libmicrohttpd, which it needs");
#endif
    const cli_command *command = find(name);
    return command == NULL ? unknown(name) : cli_command_run(command, argc - 2, argv + 2);
}

// A program started with a standard stream closed would get its number for the next file that is
// opened, and then print into that file. Opened the wrong way round, using them still fails.
static void fill_closed_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) != -1) continue;
        const int got = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        if (got > STDERR_FILENO) close(got);
    }
}

int main(int argc, char **argv) {
    fill_closed_streams();
    cli_interrupt_install();
    return cli_out_finish(dispatch(argc, argv));
}
