// SPDX-License-Identifier: MIT
// Stands in for src/typing until that is there.
#include "typing/typing.h"
__attribute__((weak)) ink_status inki_typing_make(ink_typing **out, const inki_mem *mem,
                                                  ink_model *model,
                                                  const ink_typing_options *options,
                                                  const inki_typing_hooks *hooks,
                                                  ink_error *error) {
    (void)out;
    (void)mem;
    (void)model;
    (void)options;
    (void)hooks;
    (void)error;
    return INK_E_UNSUPPORTED;
}
__attribute__((weak)) void inki_typing_destroy(ink_typing *t) { (void)t; }
__attribute__((weak)) ink_status inki_typing_load(ink_typing *t, ink_model *m, ink_error *e) {
    (void)t;
    (void)m;
    (void)e;
    return INK_OK;
}
__attribute__((weak)) bool inki_typing_has_work(ink_typing *t) {
    (void)t;
    return false;
}
__attribute__((weak)) ink_status inki_typing_step(ink_typing *t, uint32_t n, bool *more,
                                                  ink_error *e) {
    (void)t;
    (void)n;
    (void)e;
    *more = false;
    return INK_OK;
}
__attribute__((weak)) bool inki_typing_tell(ink_typing *t) {
    (void)t;
    return false;
}
__attribute__((weak)) uint64_t inki_typing_trim(ink_typing *t, uint32_t l) {
    (void)t;
    (void)l;
    return 0;
}
__attribute__((weak)) void inki_typing_fail(ink_typing *t, const ink_error *e) {
    (void)t;
    (void)e;
}
__attribute__((weak)) void inki_typing_close(ink_typing *t) { (void)t; }
__attribute__((weak)) void ink_typing_cancel(ink_typing *t) { (void)t; }
