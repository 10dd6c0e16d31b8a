// SPDX-License-Identifier: MIT
// JSON of outside origin: size and nesting are bounded, a key that occurs twice is refused.
#ifndef INKI_CONVERT_JSON_FILE_H
#define INKI_CONVERT_JSON_FILE_H

#include "base/error.h"
#include "base/mem.h"

#include <jansson.h>

// text [bytes] must be one JSON object. `where` names it in messages. json_decref(*out) ends it.
// Errors: INK_E_FORMAT, INK_E_NOMEM.
ink_status inki_json_load_text(json_t **out, const char *text, size_t bytes, const char *where,
                               ink_error *error);
// The object in dir/name. Errors: also those of inki_in_load.
ink_status inki_json_load(json_t **out, const char *dir, const char *name, size_t max_bytes,
                          const inki_mem *mem, ink_error *error);

// "a string", "an array": what a value is, for messages. NULL is "nothing".
const char *inki_json_kind(const json_t *value);

// object[key] as an integer in [min, max]. Missing or null: *out stays when `required` is false.
// Errors: INK_E_FORMAT; the message names `where` and the key.
ink_status inki_json_get_int(const json_t *object, const char *where, const char *key,
                             bool required, json_int_t min, json_int_t max, json_int_t *out,
                             ink_error *error);
// The same for true and false, and for text (borrowed from the object).
ink_status inki_json_get_bool(const json_t *object, const char *where, const char *key, bool *out,
                              ink_error *error);
ink_status inki_json_get_text(const json_t *object, const char *where, const char *key,
                              const char **out, ink_error *error);

#endif
