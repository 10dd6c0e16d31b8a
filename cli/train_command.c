// SPDX-License-Identifier: MIT
// inkling train: a model learns from text, or an adapter for one.
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "cli/report.h"
#include "cli/train_job.h"

// --- the folder
// ------------------------------------------------------------------------------------

static int make_folder(cli_train_job *job) {
    const char *dir = job->dir;
    struct stat there;
    job->made_dir = mkdir(dir, 0777) == 0;
    if (job->made_dir) return CLI_OK;
    const int why = errno;
    if (why != EEXIST)
        return cli_fail(CLI_FILE, "%s: cannot make the folder: %s", dir, strerror(why));
    if (stat(dir, &there) != 0 || !S_ISDIR(there.st_mode))
        return cli_fail(CLI_FILE, "%s: is no folder", dir);
    return CLI_OK;
}

// Two runs would take each other's checkpoints away. The system lets go of the lock whatever the
// end is; where a file system has no locks, the user has to see to it.
static int lock_folder(cli_train_job *job) {
    job->lock = open(job->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (job->lock < 0 || flock(job->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return CLI_OK;
    return cli_fail(CLI_FILE, "%s: another run of inkling train writes to it", job->dir);
}

static int begin_new(cli_train_job *job) {
    char path[CLI_TRAIN_PATH];
    job->dir = cli_train_set.output;
    job->folder = getcwd(NULL, 0);
    if (job->folder == NULL) return cli_fail(CLI_FILE, "the current folder: %s", strerror(errno));
    int code = make_folder(job);
    if (code == CLI_OK) code = lock_folder(job);
    if (code != CLI_OK) return code;
    if (access(cli_train_path(job, "checkpoint.bin", path), F_OK) != 0) return CLI_OK;
    if (!cli_train_set.force_new)
        return cli_fail(CLI_USAGE,
                        "train: %s has a checkpoint of an earlier run: go on with --resume %s, "
                        "write to another -o, or begin anew with --force-new, which loses it",
                        job->dir, job->dir);
    return CLI_OK;
}

// It must not be taken for one of this run before the first of this run is written; but until this
// run can begin it is what there is.
static int drop_old_checkpoint(const cli_train_job *job) {
    char path[CLI_TRAIN_PATH];
    if (unlink(cli_train_path(job, "checkpoint.bin", path)) == 0 || errno == ENOENT) return CLI_OK;
    return cli_fail(CLI_FILE, "%s: cannot remove: %s", path, strerror(errno));
}

static int begin_resumed(cli_train_job *job) {
    const cli_train_options asked = cli_train_set;
    char path[CLI_TRAIN_PATH];
    ink_error error = {0};
    inki_str config = {NULL, 0};
    const inki_mem mem = inki_mem_from(NULL);
    job->dir = cli_train_set.resume;
    int code = lock_folder(job);
    if (code != CLI_OK) return code;
    cli_train_path(job, "checkpoint.bin", path);
    const ink_status status = inki_checkpoint_config(path, &config, &mem, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    code = cli_train_config_read(job, config, path);
    inki_release(&mem, (void *)(uintptr_t)config.data, config.bytes + 1, 1);
    if (code != CLI_OK) return code;
    if (asked.steps.set && asked.steps.value < cli_train_set.steps.value)
        return cli_fail(
            CLI_USAGE, "train: --steps %llu is less than the %llu that the run was begun with",
            (unsigned long long)asked.steps.value, (unsigned long long)cli_train_set.steps.value);
    if (asked.steps.set) cli_train_set.steps = asked.steps;
    if (asked.checkpoint_minutes.set) cli_train_set.checkpoint_minutes = asked.checkpoint_minutes;
    if (asked.checkpoint_steps.set) cli_train_set.checkpoint_steps = asked.checkpoint_steps;
    return CLI_OK;
}

// --- the run
// ---------------------------------------------------------------------------------------

static bool checkpoint_due(const cli_train_job *job) {
    const uint64_t every = cli_train_set.checkpoint_steps.value;
    return (every > 0 && job->report.step % every == 0) ||
           cli_now_ms() - job->saved_ms >= cli_train_set.checkpoint_minutes.value * 60e3;
}

static int after_step(cli_train_job *job, bool more) {
    int code = CLI_OK;
    if (job->report.validated) {
        job->n_validations++;
        const uint64_t every = cli_train_set.sample_every.value;
        if (every > 0 && job->n_validations % every == 0) code = cli_train_sample(job);
    }
    if (code == CLI_OK && more && checkpoint_due(job)) {
        code = cli_train_save_checkpoint(job);
        cli_train_draw(job);
    }
    return code;
}

// What was good until a NaN came up is kept: the weights that showed it are none to go on with.
static int diverged(cli_train_job *job, const ink_error *error) {
    const bool validated = isfinite(inki_trainer_best_loss(job->trainer));
    inki_trainer_go_back(job->trainer);
    const int code = cli_train_export(job, false);
    if (code != CLI_OK || cli_train_save_checkpoint(job) != CLI_OK) return CLI_OTHER;
    return cli_fail(CLI_OTHER, "%s; %s before it are in %s/%s. A lower --rate may help",
                    error->message, validated ? "the best weights" : "weights of at most 20 steps",
                    job->dir, cli_train_set.lora.value > 0 ? "adapter.gguf" : "model.gguf");
}

static int learn(cli_train_job *job) {
    bool more = inki_trainer_n_done(job->trainer) < cli_train_set.steps.value;
    ink_error error = {0};
    int code = CLI_OK;
    job->saved_ms = cli_now_ms();
    while (more && code == CLI_OK && !cli_interrupted()) {
        const double started = cli_now_ms();
        const uint64_t n_done = inki_trainer_n_done(job->trainer);
        const ink_status status = inki_trainer_step(job->trainer, &job->report, &more, &error);
        if (status == INK_E_NUMERIC) return diverged(job, &error);
        if (status != INK_OK) return cli_fail_ink(status, &error);
        // A run that ended before its last step has none more after a resume either.
        if (inki_trainer_n_done(job->trainer) == n_done) break;
        job->has_report = true;
        cli_train_progress_step(job, cli_now_ms() - started);
        code = after_step(job, more);
    }
    return code;
}

static int finish(cli_train_job *job, bool interrupted) {
    char path[CLI_TRAIN_PATH];
    int code = cli_train_save_checkpoint(job);
    const int exported = cli_train_export(job, !interrupted);
    if (code == CLI_OK) code = exported;
    cli_train_draw(job);
    if (!interrupted && code == CLI_OK && cli_train_set.lora.value == 0 && job->converted != NULL)
        unlink(cli_train_path(job, job->converted, path));
    if (code == CLI_OK) cli_train_summary(job, interrupted);
    return code == CLI_OK && interrupted ? CLI_INTERRUPTED : code;
}

static int train(cli_train_job *job) {
    int code = cli_train_open(job);
    if (code == CLI_OK && job->config == NULL) code = drop_old_checkpoint(job);
    if (code == CLI_OK && job->learns_vocab && job->config == NULL)
        code = cli_train_write_vocabulary(job);
    if (code == CLI_OK) code = cli_train_write_settings(job);
    if (code == CLI_OK) code = cli_train_progress_begin(job);
    if (code == CLI_OK) code = learn(job);
    cli_train_progress_end(job);
    return code == CLI_OK ? finish(job, cli_interrupted()) : code;
}

// Of a run that never came to a checkpoint nothing stays that it was not asked for.
static void tidy(const cli_train_job *job) {
    char path[CLI_TRAIN_PATH];
    if (access(cli_train_path(job, "checkpoint.bin", path), F_OK) == 0) return;
    if (job->converted != NULL) unlink(cli_train_path(job, job->converted, path));
    if (job->made_dir) rmdir(job->dir); // which it does only if it is empty
}

int cli_train_run(char **args, size_t n_args) {
    cli_train_job job = {.lock = -1};
    const bool resume = cli_train_set.resume != NULL;
    int code = resume ? cli_train_check_resume(&cli_train_set, n_args)
                      : cli_train_check(&cli_train_set, (const char *const *)args, n_args);
    if (code != CLI_OK) return code;
    // Those of a run that goes on are the job's own: its checkpoint names them.
    if (!resume) job.texts = (const char **)(uintptr_t)args;
    if (!resume) job.n_texts = n_args;
    code = resume ? begin_resumed(&job) : begin_new(&job);
    if (code == CLI_OK) code = train(&job);
    if (code != CLI_OK && job.dir != NULL) tidy(&job);
    cli_train_close(&job);
    if (job.lock >= 0) close(job.lock);
    return code;
}
