// SPDX-License-Identifier: MIT
// The options of `inkling train`. Their names and values are also what a checkpoint keeps.
#include <string.h>

#include "cli/commands.h"
#include "cli/train_job.h"

// The largest seed that every reader of JSON takes exactly.
#define MAX_SEED 9007199254740991.0

static const char *const preset_names[] = {"nano", "micro", "mini", "small", "gpt2", NULL};
static const char *const precision_names[] = {"auto", "f32", "bf16", NULL};
static const char *const type_names[] = {"f32",  "f16",  "bf16", "q8_0",
                                         "q4_0", "q4_k", "q6_k", NULL};

cli_train_options cli_train_set;
#define SET(field) (&cli_train_set.field)
#define TEXT(option, target_, value_, help_)                                                       \
    { .name = (option), .kind = CLI_TEXT, .target = (target_), .value = (value_), .help = (help_) }
#define UINT(option, target_, low_, high_, show, help_)                                            \
    {                                                                                              \
        .name = (option), .kind = CLI_UINT, .target = (target_), .value = "N", .low = (low_),      \
        .high = (high_), .show_default = (show), .help = (help_)                                   \
    }
#define REAL(option, target_, low_, high_, show, help_)                                            \
    {                                                                                              \
        .name = (option), .kind = CLI_REAL, .target = (target_), .value = "X", .low = (low_),      \
        .high = (high_), .show_default = (show), .help = (help_)                                   \
    }
#define FLAG(option, target_, help_)                                                               \
    { .name = (option), .kind = CLI_FLAG, .target = (target_), .help = (help_) }
#define CHOICE(option, target_, names, help_)                                                      \
    {                                                                                              \
        .name = (option), .kind = CLI_CHOICE, .target = (target_), .choices = (names),             \
        .show_default = true, .help = (help_)                                                      \
    }

const cli_option cli_train_table[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_TEXT,
     .target = SET(output),
     .value = "DIR",
     .help = "the folder to write to, which is made; it must be given"},
    TEXT("resume", SET(resume), "DIR",
         "go on with the run in DIR, with its texts and options; beside it only --steps (more than "
         "before), --threads, --checkpoint-minutes, --checkpoint-steps, --json and --quiet"),
    FLAG("force-new", SET(force_new), "begin anew where DIR has a checkpoint, which is lost"),
    // The model.
    CHOICE("preset", SET(preset), preset_names,
           "size of a new model, as width x layers:\n"
           "nano 128x4, 4 heads, context 256, vocabulary 2048\n"
           "micro 256x4, 4 heads, context 256, vocabulary 4096\n"
           "mini 256x8, 4 heads, context 512, vocabulary 4096\n"
           "small 512x8, 8 heads, context 512, vocabulary 8192\n"
           "gpt2 768x12, 12 heads, context 1024, vocabulary 50257;\n"
           "the next five change single figures of it"),
    UINT("embd", SET(embd), 1, INKI_MAX_EMBD, false, "width; a multiple of the heads"),
    UINT("layers", SET(layers), 1, INKI_MAX_LAYERS, false, "layers"),
    UINT("heads", SET(heads), 1, 4096, false, "attention heads"),
    UINT("context", SET(context), 2, INKI_MAX_CTX, false,
         "tokens of a sequence; with --init at most what the model has, without it 256 for --lora"),
    UINT("vocab", SET(vocab), 257, 1 << 20, false,
         "tokens of the vocabulary that is learnt from the text; fewer come out of a small text"),
    TEXT("tokenizer", SET(tokenizer), "MODEL",
         "take the vocabulary of this model instead of learning one"),
    TEXT("init", SET(init), "MODEL",
         "fine-tune a model: a GGUF file, a Hugging Face directory of a GPT-2 or builtin:story; "
         "sizes and vocabulary are its own"),
    UINT("lora", SET(lora), 1, 256, false,
         "with --init: the model stays as it is, an adapter of this rank learns"),
    REAL("lora-alpha", SET(lora_alpha), 0.001, 1e6, false,
         "the adapter counts alpha / rank; without it twice the rank"),
    TEXT("teacher", SET(teacher), "MODEL",
         "learn from this model's probabilities too (distillation); the vocabulary is its own, "
         "--tokenizer and --init must have the same"),
    REAL("distil-weight", SET(distil_weight), 0.001, 1, true,
         "share of the teacher in the loss, the rest is the text's"),
    REAL("distil-temperature", SET(distil_temperature), 0.1, 100, true,
         "both distributions are softened by it"),
    // The text.
    TEXT("valid", SET(valid), "FILE", "text to validate with"),
    REAL("held-out", SET(held_out), 1e-6, 0.5, true,
         "without --valid: share of the documents that are not learnt from but validated with"),
    REAL("blank-lines", SET(blank_lines), 0, 1, true,
         "how often a document is learnt from with its line ends doubled, so that texts with blank "
         "lines between paragraphs are known too"),
    // The run.
    UINT("batch", SET(batch), 1, 1 << 20, false,
         "sequences of a step; without it about 8192 tokens"),
    UINT("pass-tokens", SET(pass_tokens), 1, 1 << 24, false,
         "tokens that go through the layers together, whole sequences: a batch that is larger is "
         "added up pass by pass (gradient accumulation). Memory grows with it, and weights do not "
         "depend on it but for rounding; without it at most 4096, one sequence with --lora"),
    FLAG("recompute", SET(recompute),
         "less memory, a third slower: each layer is computed again on the way back (always with "
         "--lora)"),
    UINT("steps", SET(steps), 1, 1e12, false, "steps in all"),
    REAL("epochs", SET(epochs), 0.001, 1e6, true,
         "without --steps: how often the text is gone through"),
    REAL("rate", SET(rate), 1e-9, 1, false,
         "the highest learning rate; without it 1e-3 (gpt2: 6e-4), to fine-tune 5e-5, with --lora "
         "1e-3"),
    UINT("warmup", SET(warmup), 0, 1e12, false,
         "steps in which the rate rises; without it a twentieth of all, at most 1000"),
    REAL("rate-end", SET(rate_end), 0, 1, false,
         "where the cosine behind it ends; without it a tenth of the rate"),
    REAL("decay", SET(decay), 0, 10, true, "weight decay of the matrices"),
    REAL("beta1", SET(beta1), 0, 0.9999999, true, "AdamW's average of the gradient"),
    REAL("beta2", SET(beta2), 0, 0.9999999, true, "AdamW's average of its square"),
    REAL("clip", SET(clip), 0, 1e6, true, "longest gradient, longer ones are cut; 0: off"),
    REAL("dropout", SET(dropout), 0, 0.9, true, "share of activations that is left out"),
    UINT("seed", SET(seed), 0, MAX_SEED, true,
         "of weights, order of the text and dropout: the same seed gives the same bytes on one "
         "machine, whatever the number of threads"),
    CHOICE("precision", SET(precision), precision_names,
           "of the products; auto is bf16 where the machine multiplies it in one instruction. "
           "Weights, sums and the optimiser are f32 in any case"),
    CLI_OPTION_THREADS(SET(threads)),
    UINT("validate-every", SET(validate_every), 1, 1e12, false,
         "steps between validations; without it a fortieth of all, at most 500"),
    UINT("held-max", SET(held_max), 1, 1 << 30, false,
         "most sequences that are validated with; without it as many as cost a tenth of the time"),
    UINT("patience", SET(patience), 0, 1e9, true,
         "end after so many validations without a better one; 0: never"),
    REAL("checkpoint-minutes", SET(checkpoint_minutes), 0.01, 1e6, true,
         "minutes between checkpoints"),
    UINT("checkpoint-steps", SET(checkpoint_steps), 0, 1e12, false,
         "steps between checkpoints beside that"),
    UINT("sample-every", SET(sample_every), 1, 1e9, false,
         "print sample text at every Nth validation"),
    TEXT("sample-prompt", SET(sample_prompt), "TEXT", "what samples continue; without it nothing"),
    // What comes out.
    CHOICE("type", SET(type), type_names,
           "of the matrices in model.gguf; an adapter is f32 or f16"),
    FLAG("hf", SET(hf), "write DIR/hf as well, a Hugging Face directory"),
    TEXT("name", SET(name), "TEXT", "the model's name in the file"),
    TEXT("license", SET(license), "TEXT", "the licence in the file"),
    CLI_OPTION_JSON(SET(json), "tell all in lines of JSON on standard output"),
    FLAG("quiet", SET(quiet), "tell nothing but failures"),
};
const size_t cli_train_table_size = sizeof cli_train_table / sizeof *cli_train_table;

static void defaults(void) {
    cli_train_options *set = &cli_train_set;
    memset(set, 0, sizeof *set);
    set->type.value = CLI_TRAIN_TYPE_Q8_0;
    set->distil_weight.value = 0.9;
    set->distil_temperature.value = 1;
    set->held_out.value = 0.02;
    set->epochs.value = 4;
    set->decay.value = 0.1;
    set->beta1.value = 0.9;
    set->beta2.value = 0.95;
    set->clip.value = 1;
    set->seed.value = 1;
    set->patience.value = 10;
    set->checkpoint_minutes.value = 5;
}

const cli_command cli_train_command = {
    .name = "train",
    .synopsis = "TEXT... -o DIR [options] | --resume DIR",
    .summary = "Makes a model of your own text, or fine-tunes one",
    .details =
        "Without --init a new model of the GPT-2 architecture learns from the texts, with a "
        "vocabulary that\n"
        "is learnt from them as well. Documents in a text are separated by <|endoftext|>. In DIR "
        "appear\n"
        "  model.gguf       the best weights by the held-out text; adapter.gguf with --lora\n"
        "  checkpoint.bin   the state of the run: every few minutes, at the end and at Ctrl-C\n"
        "  settings.json    what was asked for and what was decided\n"
        "  log.csv          losses, rate and speed of the steps; loss.svg is a picture of it\n"
        "  vocab.json, merges.txt  the vocabulary, where one was learnt\n"
        "Ctrl-C ends the step and saves, a second one ends at once. \"inkling train --resume DIR\" "
        "goes on\n"
        "and gives the same bytes as a run that was never interrupted; a crash costs what was "
        "learnt since\n"
        "the last checkpoint.\n",
    .options = cli_train_table,
    .n_options = sizeof cli_train_table / sizeof *cli_train_table,
    .argument = "TEXT",
    .min_args = 0,
    .max_args = SIZE_MAX,
    .defaults = defaults,
    .run = cli_train_run,
};
