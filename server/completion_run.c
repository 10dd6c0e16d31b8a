// SPDX-License-Identifier: MIT
// The life of a run. It ends with the last of those who are at work on it: its jobs, the thread
// that submits them, and the one that tells that the client is gone. Each of these has a share in
// n_left; whoever gives the last one back answers and frees. So memory is there as long as anybody
// may look at it, in whatever order things happen.
#include "server/completion_run.h"

#include "server/app.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

// Seeds are told in JSON, where many readers have 53 bits; choices count up from the first one.
static bool draw_seed(uint64_t *seed) {
    if (getrandom(seed, sizeof *seed, 0) != (ssize_t)sizeof *seed) return false;
    *seed %= ((uint64_t)1 << 53) - SRV_MAX_N;
    return true;
}

void srv_run_free(srv_run *run) {
    for (size_t i = 0; i < run->n_choices; i++) {
        srv_choice *choice = &run->choices[i];
        srv_text_free(&choice->text);
        srv_text_free(&choice->chunk);
        for (int k = 0; k < SRV_N_LISTS; k++) srv_text_free(&choice->lists[k]);
    }
    ink_filter_unref(run->filter);
    srv_rules_unref(run->rules);
    srv_text_free(&run->head);
    for (size_t i = 0; i < run->request.n_prompts; i++) free(run->ids[i]);
    free(run->ids);
    free(run->n_prompt_tokens);
    srv_completion_clear(&run->request);
    pthread_mutex_destroy(&run->lock);
    srv_call_unref(run->call);
    free(run);
}

// --- ending --------------------------------------------------------------------------------------

static void answer_whole(srv_run *run) {
    srv_text out = {0};
    srv_run_answer(run, &out);
    if (out.failed)
        srv_call_json(run->call, 500, NULL);
    else
        srv_call_text(run->call, 200, "application/json", out.data, out.bytes);
    srv_text_free(&out);
}

static void begin_stream(srv_run *run);

static void end_stream(srv_run *run) {
    srv_text out = {0};
    begin_stream(run);
    if (run->request.include_usage) srv_run_usage_chunk(run, &out);
    srv_text_puts(&out, "data: [DONE]\n\n");
    if (!out.failed) srv_call_write(run->call, out.data, out.bytes);
    srv_text_free(&out);
    srv_call_end(run->call);
}

// in_told_gone: the call waits for that function itself when it is asked to forget it.
static void finish(srv_run *run, bool in_told_gone) {
    if (!in_told_gone) srv_call_on_gone(run->call, NULL, NULL);
    if (run->why.status != 0)
        srv_call_fail(run->call, &run->why);
    else if (atomic_load(&run->stopping) && atomic_load(&run->begun))
        srv_call_end(run->call);
    else if (atomic_load(&run->stopping))
        srv_call_empty(run->call, 204); // nobody reads it
    else if (run->request.stream)
        end_stream(run);
    else
        answer_whole(run);
    srv_run_free(run);
}

static void give_back(srv_run *run, bool in_told_gone) {
    pthread_mutex_lock(&run->lock);
    const bool last = --run->n_left == 0;
    pthread_mutex_unlock(&run->lock);
    if (last) finish(run, in_told_gone);
}

// The caller has a share. Jobs that wait are done in here.
static void stop_all(srv_run *run) {
    atomic_store(&run->stopping, true);
    for (size_t i = 0; i < run->n_choices; i++) srv_job_cancel(&run->choices[i].job);
}

static void fail(srv_run *run, const srv_failure *why) {
    pthread_mutex_lock(&run->lock);
    const bool first = run->why.status == 0 && !atomic_load(&run->stopping);
    if (first) run->why = *why;
    pthread_mutex_unlock(&run->lock);
    if (first) stop_all(run);
}

static void told_gone(void *user) {
    srv_run *run = user;
    pthread_mutex_lock(&run->lock);
    const bool over = run->n_left == 0; // whoever ends it waits for this function
    if (!over) run->n_left++;
    pthread_mutex_unlock(&run->lock);
    if (over) return;
    stop_all(run);
    give_back(run, true);
}

// --- the jobs' callbacks -------------------------------------------------------------------------

// Behind the acceptance of the jobs, so that a refusal can be a status. Who comes first does it:
// the first piece may be there before the thread that submitted.
static void begin_stream(srv_run *run) {
    if (atomic_load(&run->begun)) return;
    pthread_mutex_lock(&run->lock);
    if (!atomic_load(&run->begun)) {
        srv_call_stream(run->call);
        for (size_t i = 0; run->request.chat && i < run->n_choices; i++) {
            srv_choice *choice = &run->choices[i];
            srv_choice_first_chunk(choice);
            if (!choice->chunk.failed)
                srv_call_write(run->call, choice->chunk.data, choice->chunk.bytes);
        }
        atomic_store(&run->begun, true);
    }
    pthread_mutex_unlock(&run->lock);
}

static void fail_no_memory(srv_run *run) {
    srv_failure why = {0};
    srv_fail(&why, 503, "server_error", "out_of_memory", "There is no memory for this answer.");
    fail(run, &why);
}

static bool send_chunk(srv_choice *choice) {
    return srv_call_write(choice->run->call, choice->chunk.data, choice->chunk.bytes);
}

static int on_text(srv_job *job, const ink_piece *piece) {
    srv_choice *choice = (srv_choice *)job;
    srv_run *run = choice->run;
    if (atomic_load(&run->stopping)) return 1;
    if (srv_call_is_gone(run->call)) {
        stop_all(run);
        return 1;
    }
    srv_choice_add(choice, piece);
    const bool empty = choice->text.bytes == 0 && choice->lists[0].bytes == 0;
    if (run->request.stream && !empty && !srv_choice_failed(choice)) {
        begin_stream(run);
        srv_choice_chunk(choice);
        if (!choice->chunk.failed && !send_chunk(choice)) {
            stop_all(run);
            return 1;
        }
    }
    if (!srv_choice_failed(choice)) return 0;
    fail_no_memory(run);
    return 1;
}

// What only the engine can tell, and only while it is at work, by the name of the request's field.
static void explain(const srv_run *run, ink_status status, const ink_error *error,
                    srv_failure *why) {
    const char *param = NULL;
    // Its work with a grammar is bounded, whatever text it has come to.
    if (status == INK_E_LIMIT && run->rules != NULL) param = run->request.rules.param;
    // How many tokens they take.
    if (error != NULL && strcmp(error->where, "required") == 0) param = "required_words";
    if (error != NULL && param != NULL)
        srv_fail_field(why, status, error, param);
    else
        srv_fail_status(why, status, error);
}

static void on_done(srv_job *job, ink_status status, const ink_result *result,
                    const ink_error *error) {
    srv_choice *choice = (srv_choice *)job;
    srv_run *run = choice->run;
    srv_failure why = {0};
    choice->result = *result;
    const bool wanted = !atomic_load(&run->stopping);
    if (status != INK_OK && wanted) {
        explain(run, status, error, &why);
        fail(run, &why);
    } else if (result->stop == INK_STOP_CANCELLED && wanted) {
        srv_fail_stopping(&why);
        fail(run, &why);
    } else if (wanted && run->request.stream) {
        begin_stream(run);
        srv_choice_last_chunk(choice);
        if (choice->chunk.failed)
            fail_no_memory(run);
        else
            send_chunk(choice);
    }
    give_back(run, false);
}

// --- beginning -----------------------------------------------------------------------------------

static void set_up(srv_run *run, srv_choice *choice, size_t index) {
    const srv_completion *request = &run->request;
    const srv_prompt *prompt = &request->prompts[index / request->n];
    const ink_token *ids = run->ids[index / request->n];
    ink_generate_options *generate = &choice->generate;
    *choice = (srv_choice){.run = run, .index = (uint32_t)index};
    // What a grammar begins with belongs to the answer, be it a blank.
    choice->text_begun = choice->tokens_begun = run->rules != NULL;
    choice->sampler = request->sampler;
    choice->sampler.seed += index % request->n;
    ink_generate_options_init(generate, sizeof *generate);
    if (request->logprobs) generate->flags |= INK_GENERATE_LOGPROBS;
    if (request->echo) generate->flags |= INK_GENERATE_ECHO;
    generate->n_tokens = request->max_tokens;
    generate->deadline_ms = request->deadline_ms;
    generate->stop = request->stop;
    generate->n_stop = request->n_stop;
    generate->filter = run->filter;
    generate->grammar = srv_rules_grammar(run->rules);
    generate->required = request->required;
    generate->n_required = request->n_required;
    generate->n_top_logprobs = request->logprobs ? request->n_top : 0;
    generate->prompt_tokens = ids != NULL ? ids : prompt->tokens;
    generate->n_prompt_tokens =
        ids != NULL ? run->n_prompt_tokens[index / request->n] : prompt->n_tokens;
    srv_job *job = &choice->job;
    job->model = run->model;
    job->on_text = on_text;
    job->on_done = on_done;
    ink_request_init(&job->request, sizeof job->request);
    job->request.priority = request->priority;
    job->request.generate = generate;
    job->request.chain = request->chain;
    job->request.sampler = &choice->sampler;
}

srv_run *srv_run_new(srv_call *call, srv_completion *request, srv_model *model, ink_model *open,
                     ink_filter *filter, srv_failure *why) {
    const size_t n = request->n_prompts * request->n;
    srv_run *run = calloc(1, sizeof *run + n * sizeof run->choices[0]);
    size_t *n_tokens = calloc(request->n_prompts, sizeof *n_tokens);
    ink_token **ids = calloc(request->n_prompts, sizeof *ids);
    uint64_t seed = 0;
    const bool seeded = request->sampler.seed_set != 0 || draw_seed(&seed);
    if (run == NULL || n_tokens == NULL || ids == NULL || !seeded ||
        pthread_mutex_init(&run->lock, NULL) != 0) {
        free(run);
        free(n_tokens);
        free(ids);
        srv_fail(why, 503, "server_error", "out_of_memory", "There is no memory for this request.");
        return NULL;
    }
    run->call = srv_call_ref(call);
    run->request = *request;
    *request = (srv_completion){0};
    run->model = model;
    run->open = open;
    run->filter = filter;
    run->n_prompt_tokens = n_tokens;
    run->ids = ids;
    run->n_choices = n;
    run->n_left = n + 1;
    atomic_init(&run->stopping, false);
    atomic_init(&run->begun, false);
    if (run->request.sampler.seed_set == 0) run->request.sampler.seed = seed;
    run->request.sampler.seed_set = 1;
    srv_run_write_head(run);
    return run;
}

static void submit_all(srv_run *run) {
    srv_job *jobs[SRV_MAX_CHOICES];
    srv_failure why = {0};
    for (size_t i = 0; i < run->n_choices; i++) {
        set_up(run, &run->choices[i], i);
        jobs[i] = &run->choices[i].job;
    }
    srv_call_on_gone(run->call, told_gone, run);
    if (srv_jobs_submit(jobs, run->n_choices, &why)) {
        if (run->request.stream && !atomic_load(&run->stopping)) begin_stream(run);
    } else {
        pthread_mutex_lock(&run->lock);
        run->why = why;
        run->n_left -= run->n_choices;
        pthread_mutex_unlock(&run->lock);
    }
    give_back(run, false);
}

static bool is_wanted(srv_rules_ask *ask) {
    srv_run *run = (srv_run *)((char *)ask - offsetof(srv_run, ask));
    return !srv_call_is_gone(run->call);
}

static void told_rules(srv_rules_ask *ask, srv_rules *rules, const srv_failure *why) {
    srv_run *run = (srv_run *)((char *)ask - offsetof(srv_run, ask));
    run->rules = rules;
    if (rules != NULL) {
        submit_all(run);
        return;
    }
    srv_failure named = *why;
    if (why->status == 400) srv_failure_name(&named, run->request.rules.param);
    srv_call_fail(run->call, &named);
    srv_run_free(run);
}

void srv_run_start(srv_run *run) {
    const srv_rules_text *rules = &run->request.rules;
    if (rules->text == NULL) {
        submit_all(run);
        return;
    }
    run->ask = (srv_rules_ask){.kind = rules->kind,
                               .text = rules->text,
                               .bytes = rules->bytes,
                               .told = told_rules,
                               .wanted = is_wanted};
    srv_grammars_ask(run->model->grammars, &run->ask);
}
