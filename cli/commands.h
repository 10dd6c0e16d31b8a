// SPDX-License-Identifier: MIT
// The sub-commands, each in a file of its name.
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/args.h"

extern const cli_command cli_complete_command;
extern const cli_command cli_type_command;
extern const cli_command cli_tokenize_command;
extern const cli_command cli_inspect_command;
extern const cli_command cli_convert_command;
extern const cli_command cli_merge_command;
extern const cli_command cli_train_command;
extern const cli_command cli_perplexity_command;
extern const cli_command cli_score_command;
extern const cli_command cli_quantize_command;
extern const cli_command cli_bench_command;
#if CLI_HAS_SERVER
extern const cli_command cli_serve_command;
#endif

#endif
