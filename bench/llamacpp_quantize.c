// SPDX-License-Identifier: MIT
// Quantises a GGUF file with llama.cpp's library, for comparison. See bench/quality.sh.
// usage: llamacpp_quantize IN OUT FTYPE: 7 Q8_0, 2 Q4_0, 14 Q4_K_S, 15 Q4_K_M, 18 Q6_K
// The library comes without headers here; only fields are named that its releases have had since
// the types of single tensors could be chosen, and the defaults show whether they still lie there.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct quantize_params {
    int32_t n_threads, ftype, output_type, embedding_type;
    _Bool requantize, quantize_output, only_copy, pure;
    uint8_t rest[240]; // of a later release too
};
struct quantize_params llama_model_quantize_default_params(void);
uint32_t llama_model_quantize(const char *in, const char *out, const struct quantize_params *);
void llama_log_set(void (*)(int, const char *, void *), void *);
void llama_backend_init(void);
void ggml_backend_load_all_from_path(const char *);

static void only_errors(int level, const char *text, void *user) {
    (void)user;
    if (level == 4) fputs(text, stderr);
}

int main(int argc, char **argv) {
    const char *backends = getenv("LLAMA_BACKENDS");
    if (argc != 4) {
        fprintf(stderr, "usage: llamacpp_quantize IN OUT FTYPE\n");
        return 2;
    }
    llama_log_set(only_errors, NULL);
    if (backends != NULL) ggml_backend_load_all_from_path(backends);
    llama_backend_init();
    struct quantize_params p = llama_model_quantize_default_params();
    if (p.n_threads != 0 || p.requantize || !p.quantize_output || p.only_copy || p.pure) {
        fprintf(stderr, "llamacpp_quantize: the library's parameters lie otherwise\n");
        return 1;
    }
    p.ftype = atoi(argv[3]);
    return llama_model_quantize(argv[1], argv[2], &p) == 0 ? 0 : 1;
}
