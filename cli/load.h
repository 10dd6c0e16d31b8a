// SPDX-License-Identifier: MIT
// What the sub-commands begin with: a model, a session, the bytes of a file.
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "cli/args.h"
#include "inkling/inkling.h"

// Each of these returns an exit code and has told the reason when it is not CLI_OK.

// name: a path, "builtin:NAME", or NULL for the built-in model.
ink_source cli_source(const char *name);
// Tells of a "builtin:NAME" that there is none, with the names of those that there are; any other
// name is fine.
int cli_source_check(const char *name);
// n_threads 0: one for each processor. flags: INK_MODEL_*.
int cli_model_open(ink_model **out, const char *name, uint32_t n_threads, uint32_t flags);
// The same in two steps, for models that share their threads.
int cli_runtime_open(ink_runtime **out, uint32_t n_threads);
int cli_model_open_in(ink_model **out, ink_runtime *runtime, const char *name, uint32_t flags);
int cli_session_open(ink_session **out, ink_model *model, const ink_session_options *options);

// "FILE" or "FILE:SCALE": *n_path bytes of it are the path. A name may have a colon too, so what
// follows the last one is a scale only if it is a number and there is no file of the whole name.
// False: a number, but none that can be a scale (1 is what it is without).
bool cli_split_scale(const char *text, size_t *n_path, float *scale);

// The adapters of --lora, for the model: "FILE" or "FILE:SCALE".
typedef struct cli_adapters {
    ink_adapter_use *list; // [n]
    size_t n;
} cli_adapters;
ink_status cli_adapters_try(cli_adapters *out, ink_model *model, const cli_list *loras,
                            ink_error *error); // says nothing
int cli_adapters_open(cli_adapters *out, ink_model *model, const cli_list *loras);
void cli_adapters_close(cli_adapters *adapters); // after a failure too; a zeroed one is allowed

typedef struct cli_bytes {
    char *data; // malloc'ed, a 0 byte follows
    size_t n;
} cli_bytes;
// path "-": standard input. what: how a message calls it where it is too long.
int cli_read_file(const char *path, size_t max_bytes, const char *what, cli_bytes *out);
// Listed phrases, one a line of a file; empty lines count for nothing; and `words` (may be NULL),
// which --ban gave. path NULL: no file. Neither: no filter.
int cli_read_filter(const char *path, const cli_list *words, ink_filter **out);
// An argument: the text itself, or with "-" all bytes of standard input.
int cli_read_text(const char *arg, cli_bytes *out);

// All tokens of text; *tokens is malloc'ed. n_invalid: NULL or the bytes that are not UTF-8.
int cli_tokenize(const ink_model *model, const char *text, size_t bytes, uint32_t flags,
                 ink_token **tokens, size_t *n, size_t *n_invalid);

// The text of a token, special ones as their names, into *piece, whose memory grows to piece->n
// bytes and is the caller's; *n: bytes of it.
int cli_token_text(const ink_model *model, ink_token id, cli_bytes *piece, size_t *n);

#endif
