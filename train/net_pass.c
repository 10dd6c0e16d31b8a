// SPDX-License-Identifier: MIT
// A pass over a group of sequences, stage by stage: embed, layers, head with the loss, layers back,
// embedding back; layers and the head's pieces are cut in two. Between two stages a caller may do
// something else: that is what learning in slices of time needs.
#include "train/net_parts.h"

#include <string.h>

enum { SITE_EMBED = 4, COLUMN_GRAIN = 16 };

// --- embedding -----------------------------------------------------------------------------------

static int32_t input_id(const inki_net *net, size_t row) {
    const size_t n_seq = net->options.n_seq;
    return net->batch.ids[row / n_seq * (n_seq + 1) + row % n_seq];
}

static int32_t target_id(const inki_net *net, size_t row) {
    const size_t n_seq = net->options.n_seq;
    return net->batch.ids[row / n_seq * (n_seq + 1) + row % n_seq + 1];
}

static void widen_row(const inki_net *net, float *out, const inki_operand *rows, size_t row) {
    net->compute.kernels->dequantize[rows->type](
        out, (const uint8_t *)rows->data + row * rows->stride, net->options.shape.n_embd);
}

static void embed_part(void *arg, uint32_t part, uint32_t n_parts) {
    inki_net *net = (inki_net *)arg;
    const size_t n = net->options.shape.n_embd, n_seq = net->options.n_seq;
    const uint64_t key = inki_net_site(net, 0, SITE_EMBED);
    size_t begin, end;
    inki_pool_share(net->n_rows, 1, part, n_parts, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        float *x = net->acts[0].x + r * n;
        float *position = net->norm + r * n; // free until the first layer
        widen_row(net, x, &net->embed, (size_t)input_id(net, r));
        widen_row(net, position, &net->positions, r % n_seq);
        net->ops.add(x, position, n);
        if (net->dropout > 0)
            net->ops.dropout(x, n, net->dropout, key, (net->batch.first_sequence * n_seq + r) * n);
    }
}

// Tokens stand in any rows, so threads share columns: each adds up its own.
static void embed_back_part(void *arg, uint32_t part, uint32_t n_parts) {
    inki_net *net = (inki_net *)arg;
    const size_t n = net->options.shape.n_embd, n_seq = net->options.n_seq;
    size_t begin, end;
    inki_pool_share(n, COLUMN_GRAIN, part, n_parts, &begin, &end);
    for (size_t r = 0; r < net->n_rows && begin < end; r++) {
        const float *dx = net->dx + r * n + begin;
        net->ops.add(net->d_embed + (size_t)input_id(net, r) * n + begin, dx, end - begin);
        net->ops.add(net->d_positions + r % n_seq * n + begin, dx, end - begin);
    }
}

static void drop_rows_part(void *arg, uint32_t part, uint32_t n_parts) {
    inki_net *net = (inki_net *)arg;
    const size_t n = net->options.shape.n_embd;
    size_t begin, end;
    inki_pool_share(net->n_rows, 1, part, n_parts, &begin, &end);
    net->ops.dropout(net->dx + begin * n, (end - begin) * n, net->dropout,
                     inki_net_site(net, 0, SITE_EMBED),
                     (net->batch.first_sequence * net->options.n_seq + begin) * n);
}

static void embed_back(inki_net *net) {
    if (net->d_embed == NULL) return;
    if (net->dropout > 0) inki_net_parts(net, drop_rows_part, net);
    inki_net_parts(net, embed_back_part, net);
}

// --- head and loss -------------------------------------------------------------------------------

typedef struct head_work {
    inki_net *net;
    float *teacher; // [n, V] or NULL
    size_t first, n;
    float scale;
} head_work;

static void loss_part(void *arg, uint32_t part, uint32_t n_parts) {
    const head_work *w = (const head_work *)arg;
    inki_net *net = w->net;
    const size_t n_vocab = net->options.shape.n_vocab;
    size_t begin, end;
    inki_pool_share(w->n, 1, part, n_parts, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        float *logits = net->logits + i * n_vocab;
        const int32_t target = target_id(net, w->first + i);
        if (w->teacher == NULL) {
            net->row_loss[i] = net->row_hard[i] =
                net->ops.cross_entropy(logits, n_vocab, target, w->scale);
            continue;
        }
        net->row_loss[i] = net->ops.distil(logits, w->teacher + i * n_vocab, n_vocab, target,
                                           w->scale, &net->options.distil, &net->row_hard[i]);
    }
}

// Logits of rows [first, first + n): net->norm must hold their final norms.
static void head_logits(inki_net *net, size_t first, size_t n) {
    const size_t n_embd = net->options.shape.n_embd, n_vocab = net->options.shape.n_vocab;
    inki_net_multiply(net, net->logits, inki_net_floats(net->norm + first * n_embd, n_embd, false),
                      inki_net_turned(net->head), n, n_vocab, n_embd, NULL, false);
}

// net->logits hold gradients now: of the head's weights, and of the rows that met it.
static void head_back(inki_net *net, size_t first, size_t n) {
    const size_t n_embd = net->options.shape.n_embd, n_vocab = net->options.shape.n_vocab;
    inki_net_multiply(net, net->dnorm + first * n_embd,
                      inki_net_floats(net->logits, n_vocab, false), net->head, n, n_embd, n_vocab,
                      NULL, false);
    if (net->d_embed == NULL) return;
    inki_net_multiply(net, net->d_embed, inki_net_floats(net->logits, n_vocab, true),
                      inki_net_floats(net->norm + first * n_embd, n_embd, false), n_vocab, n_embd,
                      n, NULL, true);
}

// The next rows, to the loss and then back: the vocabulary's logits of all of them at once would be
// the largest array there is.
static void head_step(inki_net *net) {
    const size_t first = net->head_row;
    const size_t left = net->n_rows - first, n = left < net->n_chunk ? left : net->n_chunk;
    inki_net *teacher = net->learns ? net->batch.teacher : NULL;
    head_work w = {.net = net,
                   .first = first,
                   .n = n,
                   .scale = net->learns ? 1.0f / (float)net->batch.n_scaled : 0.0f};
    if (net->phase == 1) {
        head_back(net, first, n);
        net->phase = 0;
        net->head_row += n;
        return;
    }
    if (first == 0)
        inki_net_apply_norm(net, net->norm, net->out_stats, net->x_out, &net->out_norm,
                            net->n_rows);
    head_logits(net, first, n);
    if (teacher != NULL) {
        head_logits(teacher, first, n);
        w.teacher = teacher->logits;
    }
    inki_net_parts(net, loss_part, &w);
    for (size_t i = 0; i < n; i++) {
        net->loss.sum += net->row_loss[i];
        net->loss.hard += net->row_hard[i];
    }
    if (net->learns)
        net->phase = 1;
    else
        net->head_row += n;
}

// --- stages --------------------------------------------------------------------------------------

static float *behind_layer(const inki_net *net, uint32_t index) {
    return index + 1 < net->options.shape.n_layer ? net->acts[index + 1].x : net->x_out;
}

static void forward_all(inki_net *net) {
    inki_net_parts(net, embed_part, net);
    for (uint32_t i = 0; i < net->options.shape.n_layer; i++) {
        inki_net_attention_forward(net, i);
        inki_net_ffn_forward(net, i, behind_layer(net, i));
    }
}

static void set_batch(inki_net *net, const inki_net_batch *batch, bool learns) {
    net->batch = *batch;
    net->n_rows = batch->n_sequences * net->options.n_seq;
    net->learns = learns;
    net->dropout = learns ? net->options.dropout : 0;
    net->loss = (inki_net_loss){0, 0};
    net->layer = 0;
    net->head_row = 0;
    net->phase = 0;
    net->stage = INKI_NET_EMBED;
}

// The teacher is ready for its head: its final norms are made.
static void ask_teacher(inki_net *teacher, const inki_net_batch *batch) {
    set_batch(teacher, batch, false);
    forward_all(teacher);
    inki_net_apply_norm(teacher, teacher->norm, teacher->out_stats, teacher->x_out,
                        &teacher->out_norm, teacher->n_rows);
    teacher->stage = INKI_NET_IDLE;
}

void inki_net_begin(inki_net *net, const inki_net_batch *batch) {
    set_batch(net, batch, !batch->judged);
}

static void begin_back(inki_net *net) {
    const size_t bytes = net->n_rows * net->options.shape.n_embd * sizeof *net->dx;
    memset(net->dx, 0, bytes);
    inki_net_norm_back(net, net->dx, net->dnorm, net->x_out, net->out_stats, &net->out_norm,
                       net->n_rows);
    net->layer = net->options.shape.n_layer;
    net->stage = INKI_NET_BACKWARD;
}

static void forward_step(inki_net *net) {
    if (net->phase == 0) {
        inki_net_attention_forward(net, net->layer);
        net->phase = 1;
        return;
    }
    inki_net_ffn_forward(net, net->layer, behind_layer(net, net->layer));
    net->phase = 0;
    if (++net->layer == net->options.shape.n_layer) net->stage = INKI_NET_HEAD;
}

static void backward_step(inki_net *net) {
    const uint32_t index = net->layer - 1;
    // The last layer's acts are the newest there are.
    const bool again = net->options.recompute && index + 1 < net->options.shape.n_layer;
    if (net->phase == 0 && !again) net->phase = 2;
    switch (net->phase++) {
    case 0: inki_net_attention_forward(net, index); return;
    case 1: inki_net_ffn_forward(net, index, NULL); return;
    case 2: inki_net_ffn_back(net, index); return;
    default: inki_net_attention_back(net, index); break;
    }
    net->phase = 0;
    net->layer = index;
    if (index == 0) net->stage = INKI_NET_EMBED_BACK;
}

bool inki_net_advance(inki_net *net, inki_net_loss *loss) {
    switch (net->stage) {
    case INKI_NET_EMBED:
        if (net->batch.teacher != NULL) ask_teacher(net->batch.teacher, &net->batch);
        inki_net_parts(net, embed_part, net);
        net->stage = INKI_NET_FORWARD;
        return true;
    case INKI_NET_FORWARD: forward_step(net); return true;
    case INKI_NET_HEAD:
        // Rows behind the targets that count need not meet the head.
        if (net->batch.n_targets > 0) net->n_rows = net->batch.n_targets;
        head_step(net);
        if (net->head_row < net->n_rows) return true;
        if (!net->learns) break;
        begin_back(net);
        return true;
    case INKI_NET_BACKWARD: backward_step(net); return true;
    case INKI_NET_EMBED_BACK: embed_back(net); break;
    case INKI_NET_IDLE: return false;
    }
    loss->sum += net->loss.sum;
    loss->hard += net->loss.hard;
    net->stage = INKI_NET_IDLE;
    return false;
}

double inki_net_evaluate(inki_net *net, const int32_t *ids, uint32_t n_targets) {
    const inki_net_batch batch = {
        .ids = ids, .n_sequences = 1, .n_scaled = 1, .judged = true, .n_targets = n_targets};
    inki_net_loss loss = {0, 0};
    inki_net_begin(net, &batch);
    while (inki_net_advance(net, &loss)) {}
    return loss.sum;
}
