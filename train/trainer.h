// SPDX-License-Identifier: MIT
// The run: steps of AdamW over a net and its data, validation, early stop, checkpoints.
//
// The state of a run is its weights, the optimiser's two averages and a step number; all else (data
// order, dropout) is a pure function of settings and step. A resumed run goes on with the very
// bytes of one that was not interrupted.
#ifndef INKI_TRAIN_TRAINER_H
#define INKI_TRAIN_TRAINER_H

#include "train/data.h"
#include "train/net.h"

typedef struct inki_train_settings {
    uint32_t batch;       // sequences a step
    uint64_t n_steps;     // in all
    bool endless;         // n_steps is where the rate ends to fall; steps by hand go on behind it
    uint64_t n_warmup;    // steps in which the rate rises
    float rate, rate_end; // peak; at the last step, where the cosine ends
    float beta1, beta2, eps, decay, clip; // clip: of the gradient's norm; 0: off
    uint64_t seed;
    uint64_t validate_every; // steps; 0: only at the end
    uint32_t patience;       // validations without a better one, after which it stops; 0: never
    uint32_t max_held;       // sequences of validation at most; 0: all
    uint64_t keep_every;     // steps; weights are kept to go back to while no validation was; 0: no
} inki_train_settings;

// What happened in a step, or in a validation.
typedef struct inki_train_report {
    uint64_t step, n_steps; // steps done
    uint64_t n_tokens;      // learnt from so far
    double epoch;           // fraction of the text's passes
    double loss;            // of this step, nats a token
    double loss_hard;       // distil: of the text alone; else as loss
    double rate, grad_norm;
    bool validated;   // the next three are there
    double held_loss; // nats a token
    bool best;        // the best so far: its weights are in inki_trainer_best
    double best_loss;
    uint64_t best_step;
} inki_train_report;

typedef struct inki_trainer inki_trainer;
// net, data, teacher (NULL: none) are borrowed. Errors: INK_E_ARG (message names the setting),
// INK_E_NOMEM.
ink_status inki_trainer_new(inki_trainer **out, inki_net *net, inki_data *data, inki_net *teacher,
                            const inki_train_settings *settings, const inki_mem *mem,
                            ink_error *error);
void inki_trainer_free(inki_trainer *trainer); // NULL is allowed

// One step, with validation where it is due. *more: false when the run is over (steps or patience).
// Errors: INK_E_NUMERIC (the loss or the gradient is NaN or infinite: message says at which step;
// the weights are those before it).
ink_status inki_trainer_step(inki_trainer *trainer, inki_train_report *report, bool *more,
                             ink_error *error);
// --- a step by hand: on sequences of the caller's, also in pieces of time ------------------------
// ids [batch, n_seq + 1], borrowed until the step's end. No validation; the trainer may have no
// data (NULL) then.
void inki_trainer_begin(inki_trainer *trainer, const int32_t *ids);
// One stage of the net. False: all sequences are through, the step may end.
bool inki_trainer_advance(inki_trainer *trainer);
// The weights change. Errors: INK_E_NUMERIC, as above.
ink_status inki_trainer_end(inki_trainer *trainer, inki_train_report *report, ink_error *error);
// The three in one.
ink_status inki_trainer_learn(inki_trainer *trainer, const int32_t *ids, inki_train_report *report,
                              ink_error *error);
// What a validation found, nats a token: keeps the weights where they are the best so far.
void inki_trainer_judge(inki_trainer *trainer, double loss, inki_train_report *report);

// The weights of the best validation [n_values]; before the first one those of the net.
const float *inki_trainer_best(const inki_trainer *trainer);
uint64_t inki_trainer_n_done(const inki_trainer *trainer);  // steps
double inki_trainer_best_loss(const inki_trainer *trainer); // INFINITY before the first validation
double inki_trainer_last_loss(const inki_trainer *trainer); // of the last step; NAN: none was done
// False: a weight, an average or a loss that was loaded is none that learning leaves behind.
bool inki_trainer_is_sound(const inki_trainer *trainer);
// After INK_E_NUMERIC: the weights of the best validation, or those kept last (the first ones where
// none were), and averages anew. The steps go on counting.
void inki_trainer_go_back(inki_trainer *trainer);
// The next validation is the best one, whatever it finds: another text is judged from now on.
void inki_trainer_forget_best(inki_trainer *trainer);

// --- checkpoints (train_checkpoint.c) ------------------------------------------------------------
// One file: a head with sizes, the caller's settings as text (config, [bytes]), the text's
// fingerprint, then weights, averages, the best weights, a checksum of all. Written beside and
// renamed: what was there before stays good until the new one is whole. Errors: INK_E_IO (message
// has the system's words), INK_E_NOMEM.
ink_status inki_checkpoint_save(const inki_trainer *trainer, const char *path, inki_str config,
                                ink_error *error);
// Errors: INK_E_NOT_FOUND, INK_E_IO, INK_E_FORMAT (cut, altered, no checkpoint, another version),
// INK_E_ARG (of other sizes, or of another text: message says what differs). The trainer is then as
// it was.
ink_status inki_checkpoint_load(inki_trainer *trainer, const char *path, ink_error *error);
// The settings' text of a checkpoint, to make the rest from; *config is allocated from mem
// (config->bytes + 1). Errors: as above.
ink_status inki_checkpoint_config(const char *path, inki_str *config, const inki_mem *mem,
                                  ink_error *error);

#endif
