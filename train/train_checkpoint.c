// SPDX-License-Identifier: MIT
//
// The file, all numbers little-endian; docs/FORMATS.md has the same as a table:
//     "INKTRAIN", u32 version, u32 bytes of the head
//     u64 [N_FIELDS], see `field`
//     u64 checksum of the head up to here
//     the settings' text, zeros up to a multiple of 8
//     f32 [n_values] weights, averages, averages of squares, best weights
//     u64 checksum of all before it
// The head has a checksum of its own and one of the text, so that a run that is resumed can read
// its settings without reading the weights.
#include "train/trainer_state.h"

#include "os/os.h"
#include "base/checksum.h"

#include <math.h>
#include <string.h>

static const char magic[8] = {'I', 'N', 'K', 'T', 'R', 'A', 'I', 'N'};

// New ones are added at the end, with a new version.
enum field {
    FIELD_FILE_BYTES,
    FIELD_CONFIG_BYTES,
    FIELD_CONFIG_SUM,
    FIELD_N_VALUES,
    FIELD_N_VOCAB,
    FIELD_N_CTX,
    FIELD_N_EMBD,
    FIELD_N_LAYER,
    FIELD_N_HEAD,
    FIELD_N_FF,
    FIELD_LORA_RANK,
    FIELD_PARAMS, // checksum of the parameters' names and shapes
    FIELD_BASE,   // of the frozen model's weights, a sample; 0: none
    FIELD_TEXT,   // fingerprints of the data; 0: none
    FIELD_WAY,
    FIELD_BATCH,
    FIELD_N_SEQ,
    FIELD_SEED,
    FIELD_N_DONE, // from here on: what is restored
    FIELD_N_TOKENS,
    FIELD_BEST_STEP,
    FIELD_N_WORSE,
    FIELD_BEST_LOSS, // bits of a double
    FIELD_LAST_LOSS,
    FIELD_HAS_BEST, // for other readers
    N_FIELDS
};

enum {
    VERSION = 1,
    N_ARRAYS = 4,
    FIELDS_AT = 16,
    HEAD_BYTES = FIELDS_AT + 8 * N_FIELDS + 8,
    PIECE_VALUES = 8192, // converted and written at a time
    SAMPLE_BYTES = 4096
};

typedef struct checkpoint {
    uint64_t fields[N_FIELDS];
    const uint8_t *config, *arrays; // in the file
} checkpoint;

static void put_number(uint8_t *to, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static void add_number(inki_checksum *sum, uint64_t value) {
    uint8_t bytes[8];
    put_number(bytes, value, sizeof bytes);
    inki_checksum_add(sum, bytes, sizeof bytes);
}

static uint64_t double_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double bits_double(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static size_t padding(uint64_t bytes) { return (size_t)(-bytes & 7); }

// --- what a trainer is ---------------------------------------------------------------------------

static uint64_t sum_params(const inki_net *net) {
    const inki_net_options *options = inki_net_get_options(net);
    const inki_param *params = NULL;
    const size_t n = inki_net_n_params(net, &params);
    inki_checksum sum;
    inki_checksum_init(&sum);
    add_number(&sum, double_bits((double)options->shape.norm_eps));
    add_number(&sum, double_bits(options->lora_rank > 0 ? (double)options->lora_alpha : 0));
    for (size_t i = 0; i < n; i++) {
        inki_checksum_add(&sum, params[i].name, strlen(params[i].name) + 1);
        add_number(&sum, params[i].n_rows);
        add_number(&sum, params[i].n_cols);
    }
    return inki_checksum_end(&sum);
}

static void add_sample(inki_checksum *sum, const inki_tensor *tensor) {
    const size_t bytes = tensor->n_rows * tensor->row_bytes;
    add_number(sum, tensor->type);
    inki_checksum_add(sum, tensor->data, bytes < SAMPLE_BYTES ? bytes : SAMPLE_BYTES);
}

// An adapter is worth nothing beside another model of the same shape. All of the weights would be
// read from disk for it, so it is the beginning of each matrix.
static uint64_t sum_base(const inki_weights *base) {
    inki_checksum sum;
    if (base == NULL) return 0;
    inki_checksum_init(&sum);
    add_sample(&sum, &base->token_embd);
    for (uint32_t i = 0; i < base->n_layer; i++) {
        add_sample(&sum, &base->layers[i].qkv);
        add_sample(&sum, &base->layers[i].attn_out);
        add_sample(&sum, &base->layers[i].ffn_up);
        add_sample(&sum, &base->layers[i].ffn_down);
    }
    return inki_checksum_end(&sum);
}

static void describe(const inki_trainer *trainer, uint64_t *fields) {
    const inki_net_options *options = inki_net_get_options(trainer->net);
    const struct inki_trainer_counts *counts = &trainer->counts;
    fields[FIELD_N_VALUES] = trainer->n_values;
    fields[FIELD_N_VOCAB] = options->shape.n_vocab;
    fields[FIELD_N_CTX] = options->shape.n_ctx;
    fields[FIELD_N_EMBD] = options->shape.n_embd;
    fields[FIELD_N_LAYER] = options->shape.n_layer;
    fields[FIELD_N_HEAD] = options->shape.n_head;
    fields[FIELD_N_FF] = options->shape.n_ff;
    fields[FIELD_LORA_RANK] = options->lora_rank;
    fields[FIELD_PARAMS] = sum_params(trainer->net);
    fields[FIELD_BASE] = sum_base(options->base);
    fields[FIELD_TEXT] = fields[FIELD_WAY] = 0;
    if (trainer->data != NULL) {
        fields[FIELD_TEXT] = inki_data_get_stats(trainer->data)->fingerprint;
        fields[FIELD_WAY] = inki_data_get_stats(trainer->data)->way_fingerprint;
    }
    fields[FIELD_BATCH] = trainer->settings.batch;
    fields[FIELD_N_SEQ] = options->n_seq;
    fields[FIELD_SEED] = trainer->settings.seed;
    fields[FIELD_N_DONE] = counts->n_done;
    fields[FIELD_N_TOKENS] = counts->n_tokens;
    fields[FIELD_BEST_STEP] = counts->best_step;
    fields[FIELD_N_WORSE] = counts->n_worse;
    fields[FIELD_BEST_LOSS] = double_bits(counts->best_loss);
    fields[FIELD_LAST_LOSS] = double_bits(counts->last_loss);
    fields[FIELD_HAS_BEST] = isfinite(counts->best_loss) ? 1 : 0;
}

// --- writing -------------------------------------------------------------------------------------

static ink_status put(inki_out *out, inki_checksum *sum, const void *data, size_t bytes,
                      ink_error *error) {
    inki_checksum_add(sum, data, bytes);
    return inki_out_write(out, data, bytes, error);
}

static ink_status put_values(inki_out *out, inki_checksum *sum, const float *values, size_t n,
                             ink_error *error) {
    uint8_t bytes[4 * PIECE_VALUES];
    ink_status status = INK_OK;
    for (size_t done = 0; done < n && status == INK_OK;) {
        const size_t part = n - done < PIECE_VALUES ? n - done : PIECE_VALUES;
        for (size_t i = 0; i < part; i++) {
            uint32_t bits;
            memcpy(&bits, values + done + i, sizeof bits);
            put_number(bytes + 4 * i, bits, 4);
        }
        status = put(out, sum, bytes, 4 * part, error);
        done += part;
    }
    return status;
}

static ink_status put_all(const inki_trainer *trainer, inki_out *out, inki_str config,
                          ink_error *error) {
    const float *arrays[N_ARRAYS] = {inki_net_weights(trainer->net), trainer->average,
                                     trainer->square, trainer->best};
    const uint8_t zeros[8] = {0};
    uint64_t fields[N_FIELDS];
    uint8_t head[HEAD_BYTES], end[8];
    inki_checksum sum;
    describe(trainer, fields);
    fields[FIELD_CONFIG_BYTES] = config.bytes;
    fields[FIELD_CONFIG_SUM] = inki_checksum_of(config.data, config.bytes);
    fields[FIELD_FILE_BYTES] = HEAD_BYTES + config.bytes + padding(config.bytes) +
                               (uint64_t)trainer->n_values * 4 * N_ARRAYS + sizeof end;
    memcpy(head, magic, sizeof magic);
    put_number(head + 8, VERSION, 4);
    put_number(head + 12, HEAD_BYTES, 4);
    for (size_t i = 0; i < N_FIELDS; i++) put_number(head + FIELDS_AT + 8 * i, fields[i], 8);
    put_number(head + HEAD_BYTES - 8, inki_checksum_of(head, HEAD_BYTES - 8), 8);

    inki_checksum_init(&sum);
    ink_status status = put(out, &sum, head, sizeof head, error);
    if (status == INK_OK) status = put(out, &sum, config.data, config.bytes, error);
    if (status == INK_OK) status = put(out, &sum, zeros, padding(config.bytes), error);
    for (int i = 0; i < N_ARRAYS && status == INK_OK; i++)
        status = put_values(out, &sum, arrays[i], trainer->n_values, error);
    put_number(end, inki_checksum_end(&sum), sizeof end);
    return status == INK_OK ? inki_out_write(out, end, sizeof end, error) : status;
}

ink_status inki_checkpoint_save(const inki_trainer *trainer, const char *path, inki_str config,
                                ink_error *error) {
    inki_out out = {.fd = -1};
    ink_status status = inki_out_open(&out, path, &trainer->mem, error);
    if (status != INK_OK) return status;
    status = put_all(trainer, &out, config, error);
    if (status == INK_OK) return inki_out_commit(&out, error);
    inki_out_discard(&out);
    return status;
}

// --- reading -------------------------------------------------------------------------------------

static ink_status damaged(const char *path, uint64_t at, const char *what, ink_error *error) {
    return inki_fail(error, INK_E_FORMAT, path, at, "the checkpoint is damaged: %s", what);
}

// Reads the head and finds config and arrays. Sizes are checked against each other and the file
// before anything is done with them.
static ink_status read_head(checkpoint *out, const uint8_t *data, size_t bytes, const char *path,
                            ink_error *error) {
    if (bytes < sizeof magic || memcmp(data, magic, sizeof magic) != 0)
        return inki_fail(error, INK_E_FORMAT, path, 0,
                         "it is no checkpoint of a training run: these begin with INKTRAIN");
    if (bytes < FIELDS_AT) return damaged(path, bytes, "its head is cut", error);
    if (inki_load_u32(data + 8) != VERSION)
        return inki_fail(error, INK_E_FORMAT, path, 8,
                         "it is a checkpoint of version %lu, this program reads version %d",
                         (unsigned long)inki_load_u32(data + 8), VERSION);
    if (inki_load_u32(data + 12) != HEAD_BYTES) return damaged(path, 12, "its head", error);
    if (bytes < HEAD_BYTES) return damaged(path, bytes, "its head is cut", error);
    if (inki_load_u64(data + HEAD_BYTES - 8) != inki_checksum_of(data, HEAD_BYTES - 8))
        return damaged(path, HEAD_BYTES - 8, "its head has another checksum", error);
    uint64_t *fields = out->fields;
    for (size_t i = 0; i < N_FIELDS; i++) fields[i] = inki_load_u64(data + FIELDS_AT + 8 * i);
    if (fields[FIELD_FILE_BYTES] != bytes)
        return inki_fail(error, INK_E_FORMAT, path, bytes,
                         "the checkpoint is damaged: it has %llu bytes, it should have %llu",
                         (unsigned long long)bytes, (unsigned long long)fields[FIELD_FILE_BYTES]);
    const uint64_t left = bytes - HEAD_BYTES, config = fields[FIELD_CONFIG_BYTES];
    if (left < 8 || config > left - 8 || padding(config) > left - 8 - config)
        return damaged(path, FIELDS_AT, "its settings do not fit into it", error);
    const uint64_t values = left - 8 - config - padding(config), each = 4 * N_ARRAYS;
    if (values % each != 0 || fields[FIELD_N_VALUES] != values / each)
        return damaged(path, FIELDS_AT, "its weights do not fit into it", error);
    out->config = data + HEAD_BYTES;
    out->arrays = out->config + config + padding(config);
    if (inki_checksum_of(out->config, (size_t)config) != fields[FIELD_CONFIG_SUM])
        return damaged(path, HEAD_BYTES, "its settings have another checksum", error);
    return INK_OK;
}

static ink_status differs(const char *path, const char *what, uint64_t has, uint64_t wanted,
                          ink_error *error) {
    return inki_fail(error, INK_E_ARG, path, 0,
                     "the checkpoint is of another run: it has %llu %s, this run has %llu",
                     (unsigned long long)has, what, (unsigned long long)wanted);
}

static ink_status check_same(const inki_trainer *trainer, const checkpoint *c, const char *path,
                             ink_error *error) {
    static const struct {
        enum field field;
        const char *what;
    } counted[] = {
        {FIELD_N_VOCAB, "tokens in its vocabulary"},
        {FIELD_N_CTX, "tokens of context"},
        {FIELD_N_EMBD, "numbers in an embedding"},
        {FIELD_N_LAYER, "layers"},
        {FIELD_N_HEAD, "heads"},
        {FIELD_N_FF, "numbers in a feed-forward layer"},
        {FIELD_LORA_RANK, "as rank of its adapters"},
        {FIELD_N_VALUES, "weights"},
        {FIELD_N_SEQ, "tokens in a sequence"},
        {FIELD_BATCH, "sequences in a step"},
        {FIELD_SEED, "as seed"},
    };
    static const struct {
        enum field field;
        const char *what;
    } hashed[] = {
        {FIELD_PARAMS, "the parameters have other names or shapes"},
        {FIELD_BASE, "the adapters belong to another model"},
        {FIELD_TEXT, "the text is not the same"},
        {FIELD_WAY, "seed, context, tokenizer, held-out part or blank lines are not the same"},
    };
    uint64_t own[N_FIELDS];
    describe(trainer, own);
    for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
        const enum field f = counted[i].field;
        if (c->fields[f] != own[f])
            return differs(path, counted[i].what, c->fields[f], own[f], error);
    }
    for (size_t i = 0; i < sizeof hashed / sizeof hashed[0]; i++)
        if (c->fields[hashed[i].field] != own[hashed[i].field])
            return inki_fail(error, INK_E_ARG, path, 0, "the checkpoint is of another run: %s",
                             hashed[i].what);
    if (!trainer->settings.endless && c->fields[FIELD_N_DONE] > trainer->settings.n_steps)
        return inki_fail(error, INK_E_ARG, path, 0,
                         "the checkpoint has %llu steps done, this run is to have %llu in all",
                         (unsigned long long)c->fields[FIELD_N_DONE],
                         (unsigned long long)trainer->settings.n_steps);
    return INK_OK;
}

static void take_values(float *out, const uint8_t *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = inki_load_u32(from + 4 * i);
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void restore(inki_trainer *trainer, const checkpoint *c) {
    float *const arrays[N_ARRAYS] = {inki_net_weights(trainer->net), trainer->average,
                                     trainer->square, trainer->best};
    for (size_t i = 0; i < N_ARRAYS; i++)
        take_values(arrays[i], c->arrays + i * 4 * trainer->n_values, trainer->n_values);
    trainer->counts = (struct inki_trainer_counts){
        .n_done = c->fields[FIELD_N_DONE],
        .n_tokens = c->fields[FIELD_N_TOKENS],
        .best_step = c->fields[FIELD_BEST_STEP],
        .n_worse = c->fields[FIELD_N_WORSE],
        .best_loss = bits_double(c->fields[FIELD_BEST_LOSS]),
        .last_loss = bits_double(c->fields[FIELD_LAST_LOSS]),
    };
}

static ink_status load_bytes(inki_trainer *trainer, const uint8_t *data, size_t bytes,
                             const char *path, ink_error *error) {
    checkpoint c;
    ink_status status = read_head(&c, data, bytes, path, error);
    if (status == INK_OK) status = check_same(trainer, &c, path, error);
    if (status != INK_OK) return status;
    if (inki_load_u64(data + bytes - 8) != inki_checksum_of(data, bytes - 8))
        return damaged(path, bytes - 8, "its weights have another checksum", error);
    restore(trainer, &c);
    return INK_OK;
}

ink_status inki_checkpoint_load(inki_trainer *trainer, const char *path, ink_error *error) {
    inki_file file = {0};
    ink_status status = inki_os_open_path(&file, path, false, &trainer->mem, error);
    if (status != INK_OK) return status;
    status = load_bytes(trainer, file.data, file.bytes, path, error);
    inki_os_close(&file);
    return status;
}

static ink_status copy_config(const uint8_t *data, size_t bytes, const char *path, inki_str *config,
                              const inki_mem *mem, ink_error *error) {
    checkpoint c;
    const ink_status status = read_head(&c, data, bytes, path, error);
    if (status != INK_OK) return status;
    const size_t n = (size_t)c.fields[FIELD_CONFIG_BYTES];
    char *copy = inki_alloc(mem, n + 1, 1);
    if (copy == NULL) return inki_fail_nomem(error, n + 1);
    memcpy(copy, c.config, n);
    copy[n] = 0;
    *config = (inki_str){copy, n};
    return INK_OK;
}

ink_status inki_checkpoint_config(const char *path, inki_str *config, const inki_mem *mem,
                                  ink_error *error) {
    inki_file file = {0};
    ink_status status = inki_os_open_path(&file, path, false, mem, error);
    if (status != INK_OK) return status;
    status = copy_config(file.data, file.bytes, path, config, mem, error);
    inki_os_close(&file);
    return status;
}
