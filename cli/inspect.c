// SPDX-License-Identifier: MIT
// inkling inspect: what a model file says of itself, and what it would take to run it.
#define INK_EXPERIMENTAL
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/text.h"

enum { KEY_COLUMNS = 40, VALUE_COLUMNS = 72, NAME_COLUMNS = 64, FIT_BYTES = 1024 };

static struct {
    const char *model;
    cli_uint context;
    cli_choice kv_type;
    bool json;
} set;

static const cli_option options[] = {
    CLI_OPTION_MODEL(&set.model),
    CLI_OPTION_CONTEXT(&set.context),
    CLI_OPTION_KV_TYPE(&set.kv_type),
    CLI_OPTION_JSON(&set.json, "one JSON object instead of a table; long text is not cut"),
};

static void defaults(void) {
    ink_session_options session;
    ink_session_options_init(&session, sizeof session);
    memset(&set, 0, sizeof set);
    set.kv_type.value = session.kv_type;
}

typedef struct report {
    const char *file;
    ink_model *model; // opened to be run, where it can be: only then the sizes are known
    ink_model_info info;
    ink_memory memory;
    ink_status runs; // INK_OK: memory is filled; else why not, with `error`
    ink_error error;
} report;

// --- as a table -----------------------------------------------------------------------------

// Text in a column: made visible, cut, filled up with blanks.
static void cell(const char *text, size_t columns, size_t fill) {
    char fit[FIT_BYTES];
    const size_t used = cli_text_fit(text, columns, fit, sizeof fit);
    cli_out("%s%*s", fit, used < fill ? (int)(fill - used) : 0, "");
}

static size_t widest(size_t have, const char *text, size_t columns) {
    char fit[FIT_BYTES];
    const size_t used = cli_text_fit(text, columns, fit, sizeof fit);
    return used > have ? used : have;
}

static void fact(const char *label, const char *text) {
    cli_out("%-14s", label);
    cell(text[0] != 0 ? text : "(not stated)", FIT_BYTES / 4, 0);
    cli_out("\n");
}

static void print_facts(const report *r) {
    const ink_model_info *info = &r->info;
    char size[CLI_TEXT_SIZE], weights[CLI_TEXT_SIZE];
    fact("file", r->file);
    fact("architecture", info->architecture);
    fact("name", info->name);
    fact("licence", info->license);
    cli_out("%-14s%llu\n", "parameters", (unsigned long long)info->n_params);
    cli_out("%-14s%s\n", "weights", info->type);
    cli_out("%-14s%s (%llu bytes), of them %s weights\n", "size",
            cli_text_size(info->file_bytes, size), (unsigned long long)info->file_bytes,
            cli_text_size(info->weight_bytes, weights));
    if (r->runs != INK_OK) return;
    cli_out("%-14s%u positions\n", "context", (unsigned)info->n_ctx);
    cli_out("%-14s%u tokens", "vocabulary", (unsigned)info->n_vocab);
    if (info->end_token >= 0) cli_out(", end token %d", (int)info->end_token);
    cli_out("\n%-14s%u layers, %u heads, width %u\n", "shape", (unsigned)info->n_layer,
            (unsigned)info->n_head, (unsigned)info->n_embd);
}

static void print_metadata(const ink_model *model) {
    const size_t n = ink_model_n_metadata(model);
    size_t width = 0;
    const char *key = NULL, *type = NULL;
    for (size_t i = 0; i < n; i++)
        if (ink_model_metadata(model, i, &key, &type, NULL, 0, NULL) == INK_OK)
            width = widest(width, key, KEY_COLUMNS);
    cli_out("\nmetadata, %zu entries\n", n);
    for (size_t i = 0; i < n; i++) {
        char value[FIT_BYTES] = "";
        if (ink_model_metadata(model, i, &key, &type, value, sizeof value, NULL) != INK_OK)
            continue;
        cli_out("  ");
        cell(key, KEY_COLUMNS, width + 2);
        cli_out("%-8s", type);
        cell(value, VALUE_COLUMNS, 0);
        cli_out("\n");
    }
}

static void shape_text(const ink_tensor_info *t, char *out, size_t cap) {
    size_t at = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < t->n_dims && i < 4 && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%llu", i == 0 ? "" : " x ",
                               (unsigned long long)t->dims[i]);
}

static void print_tensors(const ink_model *model) {
    const size_t n = ink_model_n_tensors(model);
    size_t width = 0, shape_width = 0;
    ink_tensor_info t = {.size = sizeof t};
    char shape[96];
    for (size_t i = 0; i < n; i++) {
        if (ink_model_tensor(model, i, &t) != INK_OK) continue;
        width = widest(width, t.name, NAME_COLUMNS);
        shape_text(&t, shape, sizeof shape);
        shape_width = widest(shape_width, shape, sizeof shape);
    }
    cli_out("\ntensors, %zu: name, type, shape (innermost first), bytes\n", n);
    for (size_t i = 0; i < n; i++) {
        if (ink_model_tensor(model, i, &t) != INK_OK) continue;
        shape_text(&t, shape, sizeof shape);
        cli_out("  ");
        cell(t.name, NAME_COLUMNS, width + 2);
        cli_out("%-6s", t.type);
        cell(shape, sizeof shape, shape_width + 2);
        cli_out("%12llu\n", (unsigned long long)t.bytes);
    }
}

static void amount(const char *label, uint64_t bytes) {
    char size[CLI_TEXT_SIZE];
    cli_out("  %-34s%14llu  %s\n", label, (unsigned long long)bytes, cli_text_size(bytes, size));
}

static void print_memory(const report *r) {
    const ink_memory *m = &r->memory;
    cli_out("\nmemory of a session with %u positions, keys and values as %s, in bytes\n",
            (unsigned)m->n_ctx, cli_kv_types[set.kv_type.value]);
    amount("file, mapped and shared", m->file_bytes);
    amount("model, heap", m->model_heap_bytes);
    amount("model, heap while it is opened", m->model_peak_bytes);
    amount("session, heap", m->session_heap_bytes);
    amount("  of it keys and values", m->kv_bytes);
}

static void print_table(const report *r) {
    print_facts(r);
    print_metadata(r->model);
    print_tensors(r->model);
    if (r->runs == INK_OK) {
        print_memory(r);
    } else if (r->runs == INK_E_UNSUPPORTED) {
        cli_out("\nInkling cannot run this model: ");
        cell(r->error.message[0] != 0 ? r->error.message : ink_status_text(r->runs), FIT_BYTES / 4,
             0);
        cli_out("\n");
    }
}

// --- as JSON --------------------------------------------------------------------------------

static json_t *text_json(const char *text) { return cli_text_json(text, strlen(text)); }

// Strings are whole. Arrays may have 50,000 items, so of them there is only the beginning.
static json_t *metadata_json(const ink_model *model, size_t index) {
    char value[FIT_BYTES] = "";
    const char *key = NULL, *type = NULL;
    size_t bytes = 0;
    if (ink_model_metadata(model, index, &key, &type, value, sizeof value, &bytes) != INK_OK)
        return NULL;
    json_t *text = NULL;
    if (bytes < sizeof value || strcmp(type, "array") == 0) {
        text = cli_text_json(value, bytes < sizeof value ? bytes : strlen(value));
    } else {
        char *whole = malloc(bytes + 1);
        if (whole == NULL) return NULL;
        if (ink_model_metadata(model, index, &key, &type, whole, bytes + 1, &bytes) == INK_OK)
            text = cli_text_json(whole, bytes);
        free(whole);
    }
    return json_pack("{so ss so}", "key", text_json(key), "type", type, "value", text);
}

static json_t *tensor_json(const ink_model *model, size_t index) {
    ink_tensor_info t = {.size = sizeof t};
    if (ink_model_tensor(model, index, &t) != INK_OK) return NULL;
    json_t *shape = json_array();
    for (uint32_t i = 0; i < t.n_dims && i < 4; i++)
        json_array_append_new(shape, json_integer((json_int_t)t.dims[i]));
    return json_pack("{so ss so sI sI}", "name", text_json(t.name), "type", t.type, "shape", shape,
                     "offset", (json_int_t)t.offset, "bytes", (json_int_t)t.bytes);
}

static json_t *list_json(const ink_model *model, size_t n,
                         json_t *(*item)(const ink_model *, size_t)) {
    json_t *list = json_array();
    for (size_t i = 0; i < n && list != NULL; i++) {
        json_t *one = item(model, i);
        if (one == NULL || json_array_append_new(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *memory_json(const report *r) {
    const ink_memory *m = &r->memory;
    if (r->runs != INK_OK) return json_null();
    return json_pack("{sI ss sI sI sI sI sI}", "context", (json_int_t)m->n_ctx, "kv_type",
                     cli_kv_types[set.kv_type.value], "file_bytes", (json_int_t)m->file_bytes,
                     "model_heap_bytes", (json_int_t)m->model_heap_bytes, "model_peak_bytes",
                     (json_int_t)m->model_peak_bytes, "session_heap_bytes",
                     (json_int_t)m->session_heap_bytes, "kv_bytes", (json_int_t)m->kv_bytes);
}

static json_t *report_json(const report *r) {
    const ink_model_info *i = &r->info;
    json_t *problem = r->runs == INK_OK ? json_null() : text_json(r->error.message);
    return json_pack("{so so so so sI ss sI sI sI sI si sI sI sI so so so so}", "file",
                     text_json(r->file), "architecture", text_json(i->architecture), "name",
                     text_json(i->name), "license", text_json(i->license), "parameters",
                     (json_int_t)i->n_params, "type", i->type, "file_bytes",
                     (json_int_t)i->file_bytes, "weight_bytes", (json_int_t)i->weight_bytes,
                     "context", (json_int_t)i->n_ctx, "vocabulary", (json_int_t)i->n_vocab,
                     "end_token", (int)i->end_token, "layers", (json_int_t)i->n_layer, "heads",
                     (json_int_t)i->n_head, "width", (json_int_t)i->n_embd, "metadata",
                     list_json(r->model, ink_model_n_metadata(r->model), metadata_json), "tensors",
                     list_json(r->model, ink_model_n_tensors(r->model), tensor_json), "memory",
                     memory_json(r), "cannot_run", problem);
}

// --- the command ----------------------------------------------------------------------------

static int inspect(report *r) {
    if (cli_source_check(set.model) != CLI_OK) return CLI_FILE;
    const ink_source source = cli_source(set.model);
    ink_session_options session;
    r->info.size = sizeof r->info;
    r->memory.size = sizeof r->memory;
    ink_session_options_init(&session, sizeof session);
    session.n_ctx = (uint32_t)set.context.value;
    session.kv_type = set.kv_type.value;
    r->runs = ink_measure(&source, &session, &r->memory, &r->error);
    if (r->runs == INK_E_LIMIT && set.context.set) {
        // Without the wish it may work: then the context was the reason.
        ink_error other = {0};
        if (ink_measure(&source, NULL, &r->memory, &other) == INK_OK) {
            cli_fail_ink(r->runs, &r->error);
            return CLI_CONTEXT;
        }
    }
    const int code =
        cli_model_open(&r->model, set.model, 1, r->runs == INK_OK ? 0 : INK_MODEL_INSPECT);
    if (code != CLI_OK) return code;
    const ink_status status = ink_model_get_info(r->model, &r->info);
    if (status != INK_OK) return cli_fail_ink(status, NULL);
    if (set.json)
        cli_out_json(report_json(r));
    else
        print_table(r);
    cli_out_flush();
    // Another architecture is a fact to show; anything else is wrong with the file.
    return r->runs == INK_OK || r->runs == INK_E_UNSUPPORTED ? CLI_OK
                                                             : cli_fail_ink(r->runs, &r->error);
}

static int run(char **args, size_t n_args) {
    report r = {0};
    if (n_args > 0 && set.model != NULL)
        return cli_fail(
            CLI_USAGE,
            "inspect: two models: \"%.100s\" and \"%.100s\" (see inkling inspect --help)",
            set.model, args[0]);
    if (n_args > 0) set.model = args[0];
    r.file = set.model != NULL ? set.model : "builtin:story";
    const int code = inspect(&r);
    ink_model_unref(r.model);
    return code;
}

const cli_command cli_inspect_command = {
    .name = "inspect",
    .synopsis = "[options] [MODEL]",
    .summary = "Shows what is in a model file and how much memory it takes",
    .details = "Prints metadata, licence, tensors with types and sizes, and the exact bytes that a "
               "session needs\n"
               "with the given context. GGUF files of any architecture can be inspected. Long text "
               "is cut, control\n"
               "characters are shown as \\x1b.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "MODEL",
    .min_args = 0,
    .max_args = 1,
    .defaults = defaults,
    .run = run,
};
