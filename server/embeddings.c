// SPDX-License-Identifier: MIT
// POST /v1/embeddings. Each input is a job; a call has only as many of them at a time as there are
// slots, the next one going in where one is done: a long list neither fills the queue nor is
// refused by it.
#include "server/app.h"
#include "server/jobs.h"
#include "server/json_in.h"
#include "server/route.h"
#include "server/token_calls.h"
#include "server/vector_out.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = 2048 };

struct embedding;
typedef struct lane {
    srv_job job; // the first field: a job is its lane
    struct embedding *all;
    size_t index; // of its input
    ink_generate_options generate;
    ink_token *ids; // NULL: the input is a string
} lane;

// One call. It lasts as long as somebody has a hold: a lane, the handler, the news of the client's
// going.
typedef struct embedding {
    srv_call *call; // a reference
    srv_model *model;
    const ink_model *open;
    json_t *body;
    const json_t *input;
    bool is_list; // input is an array of inputs
    size_t n;
    uint32_t n_embd, priority;
    bool base64, normalize;
    srv_text *vectors; // [n] as they are answered
    lane *lanes;       // [n_lanes]
    size_t n_lanes;
    pthread_mutex_t lock; // of what follows
    size_t next, n_holds;
    uint64_t n_tokens;
    bool gone;
    srv_failure why; // status 0: nothing failed
} embedding;

// --- the request ---------------------------------------------------------------------------------

static const json_t *input_of(const embedding *e, size_t index) {
    return e->is_list ? json_array_get(e->input, index) : e->input;
}

static bool check_item(const embedding *e, size_t index, srv_failure *why) {
    const json_t *item = input_of(e, index);
    if (!json_is_string(item) && !json_is_array(item))
        return srv_refuse(why, "input",
                          "'input': item %zu is neither a string nor an array of ids.", index);
    const size_t n = json_is_string(item) ? json_string_length(item) : json_array_size(item);
    const uint32_t n_ctx = srv_model_n_ctx(e->model);
    if (json_is_string(item) ? srv_model_outgrown(e->model, n) : n > n_ctx) {
        srv_fail(why, 400, "invalid_request_error", "context_length_exceeded",
                 "input %zu: more tokens than the %u that this model's context holds", index,
                 (unsigned)n_ctx);
        snprintf(why->param, sizeof why->param, "input");
        return false;
    }
    if (n > 0) return true;
    if (!e->is_list) return srv_refuse(why, "input", "'input' cannot be empty.");
    return srv_refuse(why, "input", "'input': item %zu is empty.", index);
}

// A string, strings, ids, or arrays of ids.
static bool read_input(embedding *e, srv_in *in) {
    e->input = srv_in_any(in, "input");
    if (e->input == NULL)
        return srv_refuse(in->why, "input",
                          "'input' is missing: a string, an array of strings, of "
                          "token ids, or of such arrays.");
    if (!json_is_string(e->input) && !json_is_array(e->input))
        return srv_refuse(in->why, "input", "'input' must be a string or an array.");
    const json_t *first = json_array_get(e->input, 0);
    e->is_list = json_is_string(first) || json_is_array(first);
    e->n = e->is_list ? json_array_size(e->input) : 1;
    if (e->n > MOST_INPUTS)
        return srv_refuse(in->why, "input", "'input' has %zu items; at most %d are taken.", e->n,
                          MOST_INPUTS);
    for (size_t i = 0; i < e->n; i++)
        if (!check_item(e, i, in->why)) return false;
    return true;
}

static bool read_fields(embedding *e, srv_in *in) {
    static const char *const known[] = {
        "input", "model", "encoding_format", "dimensions", "normalize", "priority", NULL};
    static const char *const ignored[] = {"user", "metadata", NULL};
    static const char *const formats[] = {"float", "base64", NULL};
    static const char *const priorities[] = {"foreground", "background", NULL};
    uint32_t format = 0, priority = 0;
    uint64_t n_dims = e->n_embd;
    srv_in_only(in, known, ignored, NULL);
    srv_in_choice(in, "encoding_format", formats, &format);
    srv_in_choice(in, "priority", priorities, &priority);
    srv_in_bool(in, "normalize", &e->normalize);
    srv_in_uint(in, "dimensions", 1, UINT32_MAX, &n_dims);
    if (in->failed) return false;
    e->base64 = format == 1;
    e->priority = priority == 1 ? INK_PRIORITY_BACKGROUND : INK_PRIORITY_FOREGROUND;
    if (n_dims == e->n_embd) return read_input(e, in);
    return srv_refuse(in->why, "dimensions", "'dimensions' must be %u: this model has no other.",
                      (unsigned)e->n_embd);
}

static bool read_request(embedding *e, srv_failure *why) {
    size_t bytes = 0;
    const char *body = srv_call_body(e->call, &bytes), *id = NULL;
    e->body = srv_in_object(body, bytes, why);
    if (e->body == NULL) return false;
    srv_in in = {.object = e->body, .why = why};
    ink_model_info info = {.size = sizeof info};
    srv_in_text(&in, "model", &id, NULL);
    if (in.failed) return false;
    e->model = srv_models_find(srv_call_app(e->call), id, why);
    if (e->model == NULL) return false;
    e->open = srv_model_open(e->model, why);
    if (e->open == NULL) return false;
    const ink_status status = ink_model_get_info(e->open, &info);
    if (status != INK_OK) return srv_fail_status(why, status, NULL);
    e->n_embd = info.n_embd;
    return read_fields(e, &in);
}

// --- the answer ----------------------------------------------------------------------------------

static void write_answer(const embedding *e, srv_text *out) {
    srv_text_puts(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < e->n; i++) {
        srv_text_puts(out, i == 0 ? "" : ",");
        srv_text_puts(out, "{\"object\":\"embedding\",\"index\":");
        srv_text_uint(out, i);
        srv_text_puts(out, ",\"embedding\":");
        srv_text_add(out, e->vectors[i].data, e->vectors[i].bytes);
        srv_text_puts(out, "}");
        srv_text_free(&e->vectors[i]);
    }
    srv_text_puts(out, "],\"model\":");
    srv_text_string(out, e->model->id, strlen(e->model->id));
    srv_text_puts(out, ",\"usage\":{\"prompt_tokens\":");
    srv_text_uint(out, e->n_tokens);
    srv_text_puts(out, ",\"total_tokens\":");
    srv_text_uint(out, e->n_tokens);
    srv_text_puts(out, "}}");
}

static void free_embedding(embedding *e) {
    for (size_t i = 0; e->vectors != NULL && i < e->n; i++) srv_text_free(&e->vectors[i]);
    for (size_t i = 0; i < e->n_lanes; i++) free(e->lanes[i].ids);
    pthread_mutex_destroy(&e->lock);
    free(e->vectors);
    free(e->lanes);
    json_decref(e->body);
    srv_call_unref(e->call);
    free(e);
}

static void finish(embedding *e) {
    if (e->why.status == 0) {
        srv_text out = {0};
        write_answer(e, &out);
        if (out.failed)
            srv_fail_status(&e->why, INK_E_NOMEM, NULL);
        else
            srv_call_text(e->call, 200, "application/json", out.data, out.bytes);
        srv_text_free(&out);
    }
    if (e->why.status != 0) srv_call_fail(e->call, &e->why);
    free_embedding(e);
}

static void let_go(embedding *e) {
    pthread_mutex_lock(&e->lock);
    const bool last = --e->n_holds == 0;
    const bool gone = e->gone;
    pthread_mutex_unlock(&e->lock);
    if (!last) return;
    // Where the client is gone, its news came and holds e no more. Else it may be on its way, finds
    // no hold and leaves.
    if (!gone) srv_call_on_gone(e->call, NULL, NULL);
    finish(e);
}

static void cancel_all(embedding *e) {
    for (size_t i = 0; i < e->n_lanes; i++) srv_job_cancel(&e->lanes[i].job);
}

// The first reason counts, and ends the others.
static void give_up(embedding *e, const srv_failure *why) {
    pthread_mutex_lock(&e->lock);
    const bool first = e->why.status == 0;
    if (first) e->why = *why;
    pthread_mutex_unlock(&e->lock);
    if (first) cancel_all(e);
}

static void client_gone(void *user) {
    embedding *e = user;
    pthread_mutex_lock(&e->lock);
    const bool over = e->n_holds == 0;
    if (!over) {
        e->gone = true;
        e->n_holds++;
    }
    pthread_mutex_unlock(&e->lock);
    if (over) return;
    srv_failure why = {0};
    srv_fail(&why, 503, "server_error", NULL, "The client is gone.");
    give_up(e, &why);
    let_go(e);
}

// --- the lanes -----------------------------------------------------------------------------------

static bool write_vector(lane *l, const ink_result *result, srv_failure *why) {
    embedding *e = l->all;
    srv_text *out = &e->vectors[l->index];
    const size_t n = result->n_embedding;
    if (result->embedding == NULL || n != e->n_embd)
        return srv_fail(why, 500, "server_error", NULL, "The model gave no embedding.");
    float *scaled = e->normalize ? malloc(n * sizeof *scaled) : NULL;
    if (e->normalize && scaled == NULL) return srv_fail_status(why, INK_E_NOMEM, NULL);
    if (scaled != NULL) {
        double squares = 0;
        for (size_t i = 0; i < n; i++)
            squares += (double)result->embedding[i] * (double)result->embedding[i];
        const double scale = squares > 0 ? 1 / sqrt(squares) : 0;
        for (size_t i = 0; i < n; i++) scaled[i] = (float)((double)result->embedding[i] * scale);
    }
    const float *values = scaled != NULL ? scaled : result->embedding;
    if (e->base64) {
        srv_text_puts(out, "\"");
        srv_text_base64(out, values, n);
        srv_text_puts(out, "\"");
    } else {
        srv_text_floats(out, values, n);
    }
    free(scaled);
    return !out->failed || srv_fail_status(why, INK_E_NOMEM, NULL);
}

static bool fail_input(const lane *l, ink_status status, const ink_error *error, srv_failure *why) {
    ink_error named = *error;
    if (l->all->is_list)
        snprintf(named.message, sizeof named.message, "input %zu: %.200s", l->index,
                 error->message);
    srv_fail_status(why, status, &named);
    if (why->status == 400) snprintf(why->param, sizeof why->param, "input");
    return false;
}

static bool take_result(lane *l, ink_status status, const ink_result *result,
                        const ink_error *error, srv_failure *why) {
    if (status != INK_OK) return fail_input(l, status, error, why);
    if (result->stop == INK_STOP_CANCELLED) return srv_fail_status(why, INK_E_CANCELLED, NULL);
    if (!write_vector(l, result, why)) return false;
    pthread_mutex_lock(&l->all->lock);
    l->all->n_tokens += result->n_prompt;
    pthread_mutex_unlock(&l->all->lock);
    return true;
}

// The next input becomes the lane's job. False: there is none, or it failed.
static bool take_next(lane *l) {
    embedding *e = l->all;
    pthread_mutex_lock(&e->lock);
    const bool more = e->why.status == 0 && e->next < e->n;
    if (more) l->index = e->next++;
    pthread_mutex_unlock(&e->lock);
    if (!more) return false;
    const json_t *input = input_of(e, l->index);
    const size_t n = json_array_size(input);
    srv_failure why = {0};
    free(l->ids);
    l->ids = NULL;
    l->job.request.text = json_string_value(input);
    l->job.request.bytes = json_string_length(input);
    if (json_is_array(input)) {
        char where[32] = "";
        if (e->is_list) snprintf(where, sizeof where, ", input %zu", l->index);
        l->ids = malloc(n * sizeof *l->ids);
        if (l->ids == NULL)
            srv_fail_status(&why, INK_E_NOMEM, NULL);
        else
            srv_ids_read(input, e->open, l->ids, "input", where, &why);
    }
    l->generate.prompt_tokens = l->ids;
    l->generate.n_prompt_tokens = l->ids != NULL ? n : 0;
    if (why.status == 0) return true;
    give_up(e, &why);
    return false;
}

static void lane_done(srv_job *job, ink_status status, const ink_result *result,
                      const ink_error *error) {
    lane *l = (lane *)job;
    embedding *e = l->all;
    srv_failure why = {0};
    if (!take_result(l, status, result, error, &why)) give_up(e, &why);
    if (take_next(l)) {
        job->goes_on = true;
        if (srv_jobs_submit(&job, 1, &why)) return;
        give_up(e, &why);
    }
    let_go(e);
}

static void start_lanes(embedding *e, srv_job **jobs) {
    size_t n = 0;
    while (n < e->n_lanes && take_next(&e->lanes[n])) {
        jobs[n] = &e->lanes[n].job;
        n++;
    }
    pthread_mutex_lock(&e->lock);
    e->n_holds += n;
    const bool failed = e->why.status != 0;
    pthread_mutex_unlock(&e->lock);
    srv_failure why = {0};
    if (!failed && srv_jobs_submit(jobs, n, &why)) return;
    if (!failed) give_up(e, &why);
    for (size_t i = 0; i < n; i++) let_go(e);
}

static bool make_lanes(embedding *e, srv_failure *why) {
    const size_t n_slots = e->model->app->options.n_parallel;
    const size_t n = e->n < n_slots ? e->n : n_slots;
    e->vectors = calloc(e->n, sizeof *e->vectors);
    e->lanes = calloc(n, sizeof *e->lanes);
    if (e->vectors == NULL || e->lanes == NULL) return srv_fail_status(why, INK_E_NOMEM, NULL);
    for (size_t i = 0; i < n; i++) {
        lane *l = &e->lanes[i];
        l->all = e;
        ink_generate_options_init(&l->generate, sizeof l->generate);
        l->generate.flags = INK_GENERATE_FRESH | INK_GENERATE_EMBED;
        l->generate.n_tokens = 0;
        l->job.model = e->model;
        l->job.on_done = lane_done;
        ink_request_init(&l->job.request, sizeof l->job.request);
        l->job.request.priority = e->priority;
        l->job.request.generate = &l->generate;
    }
    e->n_lanes = n;
    return true;
}

void srv_handle_embeddings(srv_call *call) {
    embedding *e = calloc(1, sizeof *e);
    srv_job **jobs = calloc(srv_call_app(call)->options.n_parallel + 1, sizeof(srv_job *));
    if (e == NULL || jobs == NULL || pthread_mutex_init(&e->lock, NULL) != 0) {
        srv_failure why;
        srv_fail_status(&why, INK_E_NOMEM, NULL);
        srv_call_fail(call, &why);
        free(jobs);
        free(e);
        return;
    }
    e->call = srv_call_ref(call);
    e->n_holds = 1;
    srv_failure why = {0};
    if (read_request(e, &why) && make_lanes(e, &why)) {
        srv_call_on_gone(call, client_gone, e);
        start_lanes(e, jobs);
        let_go(e);
    } else {
        srv_call_fail(call, &why);
        free_embedding(e);
    }
    free(jobs);
}
