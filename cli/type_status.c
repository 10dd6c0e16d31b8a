// SPDX-License-Identifier: MIT
#include "cli/type_status.h"

#include <stdio.h>

const char type_status_keys[] =
    "Tab all | ^Right word | ^N other | Esc none | ^Z undo | ^S save | ^Q quit";

// "first 1.2 ms | reused 40, evaluated 1 | 3400 tokens/s"
static void figures(const type_ghost *ghost, char *out, size_t cap) {
    const ink_suggestion *s = &ghost->shown;
    char speed[48] = "", which[32] = "";
    const double decode_ms = s->total_ms - s->first_token_ms;
    const uint32_t n_reused =
        s->n_prompt > s->n_prompt_evaluated ? s->n_prompt - s->n_prompt_evaluated : 0;
    if (s->n_tokens > 1 && decode_ms > 0)
        snprintf(speed, sizeof speed, " | %.0f tokens/s", (s->n_tokens - 1) * 1000 / decode_ms);
    if (ghost->n_alternatives > 1)
        snprintf(which, sizeof which, " | %u of %u", ghost->index + 1, ghost->n_alternatives);
    snprintf(out, cap, "first %.1f ms | reused %u, evaluated %u%s%s", s->first_token_ms, n_reused,
             s->n_prompt_evaluated, speed, which);
}

void type_status_left(const type_ghost *ghost, char *out, size_t cap) {
    if (ghost->typing == NULL)
        out[0] = 0;
    else if (ghost->trouble[0] != 0)
        snprintf(out, cap, "no ghost text: %s", ghost->trouble);
    else if (ghost->state == INK_SERVICE_LOADING)
        snprintf(out, cap, "loading model\xe2\x80\xa6");
    else if (ghost->filtered)
        snprintf(out, cap, "filtered: the text holds a listed phrase");
    else if (ghost->none)
        snprintf(out, cap, "no suggestion");
    else if (ghost->shown.n_tokens > 0) // the last ones, until there are new ones
        figures(ghost, out, cap);
    else
        snprintf(out, cap, "thinking\xe2\x80\xa6");
}
