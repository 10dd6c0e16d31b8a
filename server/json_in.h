// SPDX-License-Identifier: MIT
// Reading a request's JSON object: each field once, checked, with its name in the refusal.
#ifndef SERVER_JSON_IN_H
#define SERVER_JSON_IN_H

#include "server/failure.h"

#include <stddef.h>
#include <stdint.h>

// The object in body [bytes]. NULL: refused (no JSON, no object, too deep, not UTF-8).
json_t *srv_in_object(const char *body, size_t bytes, srv_failure *why);

// Reads fields of an object. The first that is wrong fills *why; all later calls then do nothing,
// so that one look at the end is enough.
typedef struct srv_in {
    const json_t *object;
    srv_failure *why;
    bool failed;
    const char *path; // short: before the names of its fields in refusals, "a.b."; NULL: nothing
} srv_in;

// Refuses with a sentence of the caller's, naming param; nothing if something was refused before.
// Returns false.
bool srv_in_refuse(srv_in *in, const char *param, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool srv_in_no_memory(srv_in *in); // likewise, with 503

// Each returns whether the field is there and not null; *out is unchanged where it is not.
bool srv_in_bool(srv_in *in, const char *name, bool *out);
bool srv_in_uint(srv_in *in, const char *name, uint64_t low, uint64_t high, uint64_t *out);
bool srv_in_int(srv_in *in, const char *name, int64_t low, int64_t high, int64_t *out);
bool srv_in_real(srv_in *in, const char *name, double low, double high, double *out);
// *out: borrowed from the object, with a 0 byte behind it; bytes NULL: it may hold no 0 byte.
bool srv_in_text(srv_in *in, const char *name, const char **out, size_t *bytes);
// One of names (NULL-terminated): *out is its index.
bool srv_in_choice(srv_in *in, const char *name, const char *const *names, uint32_t *out);
const json_t *srv_in_any(srv_in *in, const char *name);
// An object that must be there. NULL: refused.
const json_t *srv_in_inner(srv_in *in, const char *name);
// An array of at most `most` strings without U+0000: *out [*n] is the caller's to free, the strings
// are borrowed from the object. It is not NULL for an empty array.
bool srv_in_strings(srv_in *in, const char *name, size_t most, const char ***out, size_t *n);
// Whether value (may be NULL) is this string.
bool srv_in_is(const json_t *value, const char *text);
// Refuses every field that is in none of the lists (NULL-terminated), by name; `refused` are those
// that are known and would change the text, unless null.
void srv_in_only(srv_in *in, const char *const *known, const char *const *ignored,
                 const char *const *refused);

// The value of a member as it stands in the text of an object [bytes] that is known to be JSON.
// NULL: there is none, or its name is written with escapes.
const char *srv_in_raw(const char *object, size_t bytes, const char *name, size_t *value_bytes);

#endif
