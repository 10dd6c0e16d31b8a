// SPDX-License-Identifier: MIT
// What is told of a run: a line on the screen that is redrawn, a plain line at each validation, a
// row of log.csv, a line of JSON.
#include "cli/train_job.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"
#include "cli/out.h"
#include "cli/report.h"

// Rows of the log, validations apart, of a run of any length.
enum { MAX_ROWS = 20000, MAX_LOG_BYTES = 1 << 30 };
static const char head[] = "step,tokens,seconds,loss,held_loss,rate,grad_norm,tokens_per_second\n";

bool cli_train_tells(void) { return !cli_train_set.quiet && !cli_train_set.json; }

void cli_train_say(const char *format, ...) {
    char line[1024];
    va_list args;
    if (!cli_train_tells()) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    cli_note("%s", line);
}

const char *cli_train_duration(double seconds, char *out) {
    const double most = 1e9;
    const unsigned s = seconds > 0 ? (unsigned)((seconds < most ? seconds : most) + 0.5) : 0;
    if (s >= 100 * 3600)
        snprintf(out, CLI_TRAIN_TEXT, "%u d %u h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(out, CLI_TRAIN_TEXT, "%u h %u min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, CLI_TRAIN_TEXT, "%u min %u s", s / 60, s % 60);
    else
        snprintf(out, CLI_TRAIN_TEXT, "%u s", s);
    return out;
}

const char *cli_train_count(uint64_t n, char *out) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

// Losses are those of the text alone also where there is a teacher: those of validations are too.

// --- log.csv -------------------------------------------------------------------------------------

// A row begins with step, tokens and seconds, a comma behind each.
static bool read_row(const char *row, uint64_t *step, double *seconds) {
    char *end;
    *step = strtoull(row, &end, 10);
    if (end == row || *end != ',') return false;
    const char *at = strchr(end + 1, ',');
    if (at == NULL) return false;
    *seconds = strtod(at + 1, &end);
    return end > at + 1 && *end == ',' && isfinite(*seconds);
}

// Rows up to step n_done stay, with the seconds of the last one of them; what was written after the
// checkpoint is learnt again.
static size_t cut_log(const char *text, size_t bytes, uint64_t n_done, double *seconds) {
    size_t kept = sizeof head - 1;
    if (bytes < kept || memcmp(text, head, kept) != 0) return 0;
    for (size_t at = kept; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        uint64_t step;
        double passed;
        if (end == NULL || !read_row(text + at, &step, &passed) || step > n_done) break;
        *seconds = passed;
        at = kept = (size_t)(end - text) + 1;
    }
    return kept;
}

static int begin_log(cli_train_job *job, const char *path) {
    cli_train_progress *p = &job->progress;
    cli_bytes file = {NULL, 0};
    FILE *there = job->config != NULL ? fopen(path, "rb") : NULL;
    int code = CLI_OK;
    size_t kept = 0;
    if (there != NULL) {
        fclose(there);
        code = cli_read_file(path, MAX_LOG_BYTES, "the log", &file);
        if (code != CLI_OK) return code;
        kept = cut_log(file.data, file.n, inki_trainer_n_done(job->trainer), &p->seconds);
    }
    code = kept > 0 ? cli_train_write(job, "log.csv", file.data, kept)
                    : cli_train_write(job, "log.csv", head, sizeof head - 1);
    free(file.data);
    return code;
}

int cli_train_progress_begin(cli_train_job *job) {
    cli_train_progress *p = &job->progress;
    char path[CLI_TRAIN_PATH];
    cli_train_path(job, "log.csv", path);
    const int code = begin_log(job, path);
    if (code != CLI_OK) return code;
    p->log = fopen(path, "ab");
    if (p->log == NULL) return cli_fail(CLI_FILE, "%s: cannot open: %s", path, strerror(errno));
    p->row_steps = 1 + (cli_train_set.steps.value - 1) / MAX_ROWS;
    p->n_tokens =
        inki_trainer_n_done(job->trainer) * cli_train_set.batch.value * cli_train_set.context.value;
    p->row_seconds = p->seconds;
    p->held_loss = NAN;
    cli_progress_begin(&p->bar, "", true);
    return CLI_OK;
}

// The log is no part of the run: without room for it the run goes on.
void cli_train_progress_flush(cli_train_job *job) {
    cli_train_progress *p = &job->progress;
    if (p->log == NULL || (fflush(p->log) == 0 && !ferror(p->log)) || p->log_failed) return;
    p->log_failed = true;
    cli_note("%s/log.csv: cannot write: %s; rows of it are lost", job->dir, strerror(errno));
}

void cli_train_progress_end(cli_train_job *job) {
    cli_train_progress *p = &job->progress;
    cli_progress_end(&p->bar);
    cli_train_progress_flush(job);
    if (p->log != NULL) fclose(p->log);
    p->log = NULL;
}

static void json_row(const cli_train_job *job, double loss, double speed) {
    const inki_train_report *r = &job->report;
    json_t *line =
        json_pack("{ss sI sI sI sf sf sf sf sf sf}", "event", "step", "step", (json_int_t)r->step,
                  "steps", (json_int_t)r->n_steps, "tokens", (json_int_t)r->n_tokens, "epoch",
                  r->epoch, "seconds", job->progress.seconds, "loss", loss, "rate", r->rate,
                  "grad_norm", r->grad_norm, "tokens_per_second", speed);
    if (line != NULL && cli_train_set.teacher != NULL)
        json_object_set_new(line, "loss_with_teacher", json_real(r->loss));
    if (line != NULL && r->validated) {
        json_object_set_new(line, "held_loss", json_real(r->held_loss));
        json_object_set_new(line, "best", json_boolean(r->best));
    }
    cli_out_json(line);
    cli_out_flush();
}

static void log_row(cli_train_job *job) {
    cli_train_progress *p = &job->progress;
    const inki_train_report *r = &job->report;
    const double passed = p->seconds - p->row_seconds, loss = p->sum / (double)p->n_sum;
    const double speed = passed > 0 ? (double)(r->n_tokens - p->n_tokens) / passed : 0;
    fprintf(p->log, "%llu,%llu,%.3f,%.6f,", (unsigned long long)r->step,
            (unsigned long long)r->n_tokens, p->seconds, loss);
    if (r->validated && isfinite(r->held_loss)) fprintf(p->log, "%.6f", r->held_loss);
    fprintf(p->log, ",%.6g,%.6g,%.1f\n", r->rate, r->grad_norm, speed);
    if (cli_train_set.json) json_row(job, loss, speed);
    p->sum = 0;
    p->n_sum = 0;
    p->n_tokens = r->n_tokens;
    p->row_seconds = p->seconds;
}

// --- the line
// --------------------------------------------------------------------------------------

// Items in the order of what a reader misses most; those that a narrow window has no room for are
// left out from the end.
enum { ITEMS = 6, ITEM_BYTES = 64, BAR_LEAST = 10 };

static void draw(cli_train_job *job) {
    cli_train_progress *p = &job->progress;
    const inki_train_report *r = &job->report;
    char item[ITEMS][ITEM_BYTES] = {{0}}, left[CLI_TRAIN_TEXT], a[CLI_TRAIN_TEXT],
         b[CLI_TRAIN_TEXT], line[ITEMS * ITEM_BYTES] = "";
    const double to_do = (double)(r->n_steps - r->step) * p->step_ms / 1000;
    const double tokens = (double)cli_train_set.batch.value * (double)cli_train_set.context.value;
    snprintf(item[0], ITEM_BYTES, " %s/%s", cli_train_count(r->step, a),
             cli_train_count(r->n_steps, b));
    snprintf(item[1], ITEM_BYTES, "  loss %.3f", r->loss_hard);
    snprintf(item[2], ITEM_BYTES, "  %s left", cli_train_duration(to_do, left));
    if (isfinite(p->held_loss)) snprintf(item[3], ITEM_BYTES, "  held-out %.3f", p->held_loss);
    snprintf(item[4], ITEM_BYTES, "  %s tokens/s",
             cli_train_count((uint64_t)(p->step_ms > 0 ? tokens * 1000 / p->step_ms : 0), a));
    snprintf(item[5], ITEM_BYTES, "  rate %.1e", r->rate);
    const size_t room = cli_terminal_columns();
    for (size_t i = 0, n = 0; i < ITEMS; i++) {
        const size_t bytes = strlen(item[i]);
        if (i > 0 && n + bytes + BAR_LEAST > room) continue;
        memcpy(line + n, item[i], bytes + 1);
        n += bytes;
    }
    cli_progress_show(&p->bar, (double)r->step / (double)r->n_steps, line);
}

static void tell_validation(const cli_train_job *job) {
    const cli_train_progress *p = &job->progress;
    const inki_train_report *r = &job->report;
    char left[CLI_TRAIN_TEXT], step[CLI_TRAIN_TEXT], n_steps[CLI_TRAIN_TEXT], speed[CLI_TRAIN_TEXT];
    const double tokens = (double)cli_train_set.batch.value * (double)cli_train_set.context.value;
    char held[64] = "";
    if (isfinite(r->held_loss))
        snprintf(held, sizeof held, ", held-out loss %.4f%s", r->held_loss,
                 r->best ? " (best)" : "");
    cli_train_say(
        "step %s of %s: loss %.4f%s, %s tokens/s, rate %.2e, %s left",
        cli_train_count(r->step, step), cli_train_count(r->n_steps, n_steps), r->loss, held,
        cli_train_count((uint64_t)(p->step_ms > 0 ? tokens * 1000 / p->step_ms : 0), speed),
        r->rate, cli_train_duration((double)(r->n_steps - r->step) * p->step_ms / 1000, left));
}

void cli_train_progress_step(cli_train_job *job, double ms) {
    cli_train_progress *p = &job->progress;
    const inki_train_report *r = &job->report;
    // The mean of about the last fifty steps, which has validations in it.
    const double weight = 1.0 / (double)(r->step < 50 ? r->step + 1 : 50);
    p->step_ms = p->step_ms > 0 ? p->step_ms + weight * (ms - p->step_ms) : ms;
    p->seconds += ms / 1000;
    p->sum += r->loss_hard;
    p->n_sum++;
    if (r->validated) p->held_loss = r->held_loss;
    if (r->validated || r->step % p->row_steps == 0 || r->step == r->n_steps) log_row(job);
    if (r->validated) cli_train_progress_flush(job);
    if (!cli_train_tells()) return;
    if (cli_terminal_is())
        draw(job);
    else if (r->validated)
        tell_validation(job);
}
