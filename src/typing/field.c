// SPDX-License-Identifier: MIT
// The field: the host's side of a typing session. Everything here takes the lock for as long as a
// copy takes, and evaluates nothing.
#include "base/utf8.h"
#include "typing/typing_parts.h"
#include "typing/words.h"

#include <math.h>
#include <string.h>

uint64_t inki_typing_signature(const char *text, size_t bytes) { // FNV-1a
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) h = (h ^ (uint8_t)text[i]) * 0x100000001b3u;
    return h != 0 ? h : 1;
}

uint64_t inki_typing_first_word(const char *text, size_t bytes, size_t *end) {
    size_t n = 0;
    const size_t at = inki_words_first_bare(text, bytes, &n);
    if (end != NULL) *end = at + n;
    return n > 0 ? inki_typing_signature(text + at, n) : 0;
}

// A new revision: what is shown is withdrawn, and wanted again where there is text for it.
static uint64_t revise(ink_typing *t, bool wanted) {
    t->revision++;
    atomic_store(&t->live, t->revision);
    t->updated_ms = inki_os_now_ms();
    t->wanted = wanted;
    t->n_shown = 0;
    t->report = (ink_suggestion){.revision = t->revision, .done = !wanted};
    t->n_changes++;
    return t->revision;
}

static bool has_chars(const char *text, size_t bytes, uint32_t n) {
    for (size_t i = bytes; i > 0 && n > 0; i--) n -= ((uint8_t)text[i - 1] & 0xc0) != 0x80;
    return n == 0;
}

static ink_status closed(ink_error *error) {
    return inki_fail(error, INK_E_CLOSED, NULL, 0, "the service of this typing session is closed");
}

static void posted(ink_typing *t) {
    if (t->hooked) t->hooks.posted(t->hooks.arg, t);
}

// --- update --------------------------------------------------------------------------------------

// Where the reading of text begins, as far as words say it.
static size_t window_of(const ink_typing *t, const char *text, size_t caret) {
    return inki_words_window(text, caret, t->window_words);
}

// The text has changed, or the caret; what was refused was so for what stood before it.
static void stand_at(ink_typing *t, size_t caret, size_t window_at) {
    t->caret = caret;
    t->window_at = window_at;
    t->n_refused = 0;
}

static ink_status check_filter(const ink_typing *t, const char *text, size_t from, size_t caret,
                               ink_error *error) {
    if (t->o.filter == NULL) return INK_OK;
    size_t at = 0, length = 0;
    ink_filter_find(t->o.filter, text + from, caret - from, &at, &length);
    if (length == 0) return INK_OK;
    return inki_fail(error, INK_E_FILTERED, "text", from + at,
                     "holds a listed phrase, %zu bytes at byte %zu", length, from + at);
}

// Before the lock is taken: this is the look at the whole text. *window_at: where its reading
// begins.
static ink_status check_update(const ink_typing *t, const char *text, size_t bytes, size_t caret,
                               size_t *window_at, ink_error *error) {
    if (text == NULL && bytes > 0) return inki_fail(error, INK_E_ARG, "text", 0, "is NULL");
    if (bytes > INT32_MAX)
        return inki_fail(error, INK_E_LIMIT, "text", 0, "%zu bytes; at most %d", bytes,
                         (int)INT32_MAX);
    if (caret > bytes)
        return inki_fail(error, INK_E_ARG, "caret", caret,
                         "is before byte %zu of a text of %zu bytes", caret, bytes);
    if (inki_utf8_count_invalid((const uint8_t *)text, bytes) > 0)
        return inki_fail(error, INK_E_UTF8, "text", 0, "is not UTF-8");
    if (caret < bytes && ((uint8_t)text[caret] & 0xc0) == 0x80)
        return inki_fail(error, INK_E_ARG, "caret", caret, "is inside of a character, at byte %zu",
                         caret);
    *window_at = window_of(t, text, caret);
    return check_filter(t, text, *window_at, caret, error);
}

static ink_status text_need(ink_typing *t, size_t bytes, ink_error *error) {
    if (bytes <= t->text_cap) return INK_OK;
    size_t cap = t->text_cap;
    while (cap < bytes) cap *= 2;
    char *text = inki_alloc(&t->mem, cap, 1);
    if (text == NULL) return inki_fail_nomem(error, cap);
    memcpy(text, t->text, t->n_text);
    inki_release(&t->mem, t->text, t->text_cap, 1);
    t->text = text;
    t->text_cap = cap;
    return INK_OK;
}

static ink_status set_text(ink_typing *t, const char *text, size_t bytes, size_t caret,
                           size_t window_at, ink_error *error) {
    const ink_status status = text_need(t, bytes, error);
    if (status != INK_OK) return status;
    inki_history_changed(&t->history, t->text, t->n_text, text, bytes, caret);
    if (bytes > 0) memcpy(t->text, text, bytes);
    t->n_text = bytes;
    stand_at(t, caret, window_at);
    return INK_OK;
}

ink_status ink_typing_update(ink_typing *t, const char *text, size_t bytes, size_t caret,
                             uint64_t *revision, ink_error *error) {
    if (t == NULL) return inki_fail(error, INK_E_ARG, NULL, 0, "the typing session is NULL");
    if (text == NULL && bytes == 0) text = "";
    size_t window_at = 0;
    ink_status status = check_update(t, text, bytes, caret, &window_at, error);
    inki_lock_take(&t->lock);
    if (t->closed) {
        status = closed(error);
    } else {
        if (status == INK_OK && t->broken.status != 0) {
            status = (ink_status)t->broken.status;
            if (error != NULL) *error = t->broken;
        }
        if (status == INK_OK) status = set_text(t, text, bytes, caret, window_at, error);
        const bool wanted = status == INK_OK && has_chars(text, caret, t->o.min_chars);
        const uint64_t number = revise(t, wanted);
        if (status == INK_OK && revision != NULL) *revision = number;
        t->unknown = status != INK_OK;
    }
    inki_lock_give(&t->lock);
    if (status == INK_OK) posted(t);
    return status;
}

void ink_typing_cancel(ink_typing *t) {
    if (t != NULL) atomic_store(&t->cancelled, atomic_load(&t->live));
}

// --- what is shown -------------------------------------------------------------------------------

// The report of alternative i, its text copied to `text` [text_room]. Under the lock.
static ink_suggestion report_of(const ink_typing *t, uint32_t i, char *text) {
    ink_suggestion report = t->report;
    report.text = text;
    report.logprob = NAN;
    if (i < t->n_shown) {
        memcpy(text, t->shown[i].text, t->shown[i].bytes);
        report.bytes = t->shown[i].bytes;
        report.n_tokens = t->shown[i].n_tokens;
        report.stop = t->shown[i].stop;
        report.logprob = t->shown[i].logprob;
    }
    text[report.bytes] = 0;
    if (!report.done && atomic_load(&t->cancelled) == t->revision) {
        report.done = 1;
        report.stop = INK_STOP_CANCELLED;
    }
    return report;
}

ink_status ink_typing_suggestion(ink_typing *t, uint32_t index, ink_suggestion *out) {
    if (t == NULL || out == NULL || index >= t->o.n_alternatives) return INK_E_ARG;
    inki_lock_take(&t->lock);
    const ink_suggestion report = report_of(t, index, t->fetched[index]);
    inki_lock_give(&t->lock);
    inki_report_write(out, &report, sizeof report);
    return INK_OK;
}

bool inki_typing_tell(ink_typing *t) {
    if (t->o.on_suggestion == NULL) return false;
    inki_lock_take(&t->lock);
    const bool news = t->n_told != t->n_changes && t->n_shown + t->report.done > 0;
    ink_suggestion report = {0};
    if (news) {
        t->n_told = t->n_changes;
        report = report_of(t, 0, t->told);
        report.size = sizeof report;
        t->teller = inki_thread_self();
    }
    inki_lock_give(&t->lock);
    if (!news) return false;
    t->o.on_suggestion(t->o.user, t, &report);
    inki_lock_take(&t->lock);
    t->teller = 0;
    inki_lock_give(&t->lock);
    return true;
}

// --- accepting and refusing ----------------------------------------------------------------------

static void write_edit(const ink_typing *t, size_t at, size_t n_removed, size_t bytes,
                       ink_edit *out) {
    t->edit[bytes] = 0;
    const ink_edit edit = {
        .revision = t->revision, .at = at, .n_removed = n_removed, .text = t->edit, .bytes = bytes};
    inki_report_write(out, &edit, sizeof edit);
}

// The shown alternative that begins with what the host saw, or n_shown.
static uint32_t find_shown(const ink_typing *t, const ink_suggestion *seen) {
    uint32_t i = 0;
    for (; i < t->n_shown; i++)
        if (seen == NULL || (seen->bytes <= t->shown[i].bytes && seen->bytes > 0 &&
                             memcmp(seen->text, t->shown[i].text, seen->bytes) == 0))
            break;
    return i;
}

// Takes bytes of what alternative i shows into the text; the rest is shown on.
static ink_status take_shown(ink_typing *t, uint32_t i, size_t bytes, ink_edit *edit,
                             ink_error *error) {
    const size_t at = t->caret;
    const ink_status status = text_need(t, t->n_text + bytes, error);
    if (status != INK_OK) return status;
    memcpy(t->edit, t->shown[i].text, bytes);
    memmove(t->text + at + bytes, t->text + at, t->n_text - at);
    memcpy(t->text + at, t->edit, bytes);
    t->n_text += bytes;
    inki_history_add(&t->history, t->text, at, bytes);
    stand_at(t, at + bytes, window_of(t, t->text, at + bytes));
    const inki_shown taken = t->shown[i];
    memmove(taken.text, taken.text + bytes, taken.bytes - bytes);
    t->shown[i] = t->shown[0];
    t->shown[0] = taken;
    t->shown[0].bytes = taken.bytes - bytes;
    revise(t, true);
    t->n_shown = t->shown[0].bytes > 0;
    write_edit(t, at, 0, bytes, edit);
    return INK_OK;
}

static ink_status accept_locked(ink_typing *t, const ink_suggestion *seen, uint32_t unit,
                                ink_edit *edit, ink_error *error) {
    if (t->closed) return closed(error);
    if (seen != NULL && seen->revision != t->revision)
        return inki_fail(error, INK_E_STALE, NULL, 0,
                         "the suggestion is for revision %llu of the text, which is now %llu",
                         (unsigned long long)seen->revision, (unsigned long long)t->revision);
    const uint32_t i = find_shown(t, seen);
    if (i == t->n_shown || t->shown[i].bytes == 0)
        return inki_fail(error, INK_E_NOT_FOUND, NULL, 0,
                         "nothing is suggested that could be "
                         "accepted");
    const size_t bytes = seen != NULL ? seen->bytes : t->shown[i].bytes;
    return take_shown(t, i, inki_words_accept(t->shown[i].text, bytes, unit), edit, error);
}

ink_status ink_typing_accept(ink_typing *t, const ink_suggestion *shown, uint32_t unit,
                             ink_edit *edit, ink_error *error) {
    if (t == NULL || edit == NULL || (shown != NULL && shown->text == NULL && shown->bytes > 0))
        return inki_fail(error, INK_E_ARG, "ink_typing_accept", 0,
                         "the session, the edit or the text shown is NULL");
    ink_suggestion seen = {0};
    if (shown != NULL && shown->size == 0) {
        seen = *shown; // as in every report: all that the header says
    } else if (shown != NULL) {
        const ink_status read =
            inki_options_read(&seen, sizeof seen, shown, "ink_suggestion", error);
        if (read != INK_OK) return read;
    }
    if (unit > INK_ACCEPT_ALL)
        return inki_fail(error, INK_E_ARG, "unit", 0, "unknown number %u", (unsigned)unit);
    inki_lock_take(&t->lock);
    const ink_status status = accept_locked(t, shown != NULL ? &seen : NULL, unit, edit, error);
    inki_lock_give(&t->lock);
    if (status == INK_OK) posted(t);
    return status;
}

ink_status ink_typing_undo(ink_typing *t, ink_edit *edit, ink_error *error) {
    if (t == NULL || edit == NULL)
        return inki_fail(error, INK_E_ARG, "ink_typing_undo", 0, "the session or the edit is NULL");
    ink_status status = INK_OK;
    inki_accepted last;
    inki_lock_take(&t->lock);
    if (t->closed) {
        status = closed(error);
    } else if (t->unknown || !inki_history_pop(&t->history, t->text, t->n_text, &last)) {
        status = inki_fail(error, INK_E_NOT_FOUND, NULL, 0,
                           "no accepted suggestion stands in the text any more");
    } else {
        const size_t end = last.at + last.bytes, caret = t->caret;
        memmove(t->text + last.at, t->text + end, t->n_text - end);
        t->n_text -= last.bytes;
        const size_t now = caret >= end ? caret - last.bytes : caret < last.at ? caret : last.at;
        stand_at(t, now, window_of(t, t->text, now));
        revise(t, has_chars(t->text, t->caret, t->o.min_chars));
        write_edit(t, last.at, last.bytes, 0, edit);
    }
    inki_lock_give(&t->lock);
    if (status == INK_OK) posted(t);
    return status;
}

static ink_status refuse_shown(ink_typing *t, ink_error *error) {
    uint32_t n = t->n_refused;
    for (uint32_t i = 0; i < t->n_shown; i++) {
        const uint64_t word = inki_typing_first_word(t->shown[i].text, t->shown[i].bytes, NULL);
        if (word == 0) continue;
        if (n == INKI_TYPING_REFUSED)
            return inki_fail(error, INK_E_LIMIT, NULL, 0, "%d suggestions were refused already",
                             INKI_TYPING_REFUSED);
        t->refused[n++] = word;
    }
    if (n == t->n_refused)
        return inki_fail(error, INK_E_NOT_FOUND, NULL, 0,
                         "nothing is suggested that could be "
                         "refused");
    t->n_refused = n;
    return INK_OK;
}

ink_status ink_typing_retry(ink_typing *t, uint64_t *revision, ink_error *error) {
    if (t == NULL) return inki_fail(error, INK_E_ARG, NULL, 0, "the typing session is NULL");
    inki_lock_take(&t->lock);
    ink_status status = t->closed ? closed(error) : refuse_shown(t, error);
    if (status == INK_OK) {
        const uint64_t number = revise(t, true);
        if (revision != NULL) *revision = number;
    }
    inki_lock_give(&t->lock);
    if (status == INK_OK) posted(t);
    return status;
}

ink_status ink_typing_reject(ink_typing *t, uint64_t *revision, ink_error *error) {
    if (t == NULL) return inki_fail(error, INK_E_ARG, NULL, 0, "the typing session is NULL");
    inki_lock_take(&t->lock);
    const ink_status status = t->closed ? closed(error) : INK_OK;
    if (status == INK_OK) {
        const uint64_t number = revise(t, false);
        if (revision != NULL) *revision = number;
    }
    inki_lock_give(&t->lock);
    return status;
}
