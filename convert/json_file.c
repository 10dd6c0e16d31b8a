// SPDX-License-Identifier: MIT
#include "convert/json_file.h"

#include "convert/in_file.h"

ink_status inki_json_load_text(json_t **out, const char *text, size_t bytes, const char *where,
                               ink_error *error) {
    json_error_t why;
    json_t *root = json_loadb(text != NULL ? text : "", bytes, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        if (json_error_code(&why) == json_error_out_of_memory)
            return inki_fail(error, INK_E_NOMEM, where, 0, "out of memory (JSON of %zu bytes)",
                             bytes);
        return inki_fail(error, INK_E_FORMAT, where,
                         (uint64_t)(why.position > 0 ? why.position : 0),
                         "is not the JSON that was expected, line %d column %d: %s", why.line,
                         why.column, why.text);
    }
    if (!json_is_object(root)) {
        const char *kind = inki_json_kind(root);
        json_decref(root);
        return inki_fail(error, INK_E_FORMAT, where, 0, "holds %s, an object was expected", kind);
    }
    *out = root;
    return INK_OK;
}

ink_status inki_json_load(json_t **out, const char *dir, const char *name, size_t max_bytes,
                          const inki_mem *mem, ink_error *error) {
    char *text = NULL;
    size_t bytes = 0;
    ink_status status = inki_in_load(&text, &bytes, dir, name, max_bytes, mem, error);
    if (status != INK_OK) return status;
    status = inki_json_load_text(out, text, bytes, name, error);
    inki_release(mem, text, bytes, 1);
    return status;
}

const char *inki_json_kind(const json_t *value) {
    if (value == NULL) return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number with a fraction";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    case JSON_NULL: return "null";
    }
    return "something else";
}

ink_status inki_json_get_int(const json_t *object, const char *where, const char *key,
                             bool required, json_int_t min, json_int_t max, json_int_t *out,
                             ink_error *error) {
    const json_t *value = json_object_get(object, key);
    if ((value == NULL || json_is_null(value)) && !required) return INK_OK;
    if (!json_is_integer(value))
        return inki_fail(error, INK_E_FORMAT, where, 0, "%s is %s, an integer was expected", key,
                         value == NULL ? "missing" : inki_json_kind(value));
    const json_int_t number = json_integer_value(value);
    if (number < min || number > max)
        return inki_fail(error, number > max ? INK_E_LIMIT : INK_E_FORMAT, where, 0,
                         "%s is %lld, a number from %lld to %lld was expected", key,
                         (long long)number, (long long)min, (long long)max);
    *out = number;
    return INK_OK;
}

ink_status inki_json_get_bool(const json_t *object, const char *where, const char *key, bool *out,
                              ink_error *error) {
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) return INK_OK;
    if (!json_is_boolean(value))
        return inki_fail(error, INK_E_FORMAT, where, 0, "%s is %s, true or false was expected", key,
                         inki_json_kind(value));
    *out = json_is_true(value);
    return INK_OK;
}

ink_status inki_json_get_text(const json_t *object, const char *where, const char *key,
                              const char **out, ink_error *error) {
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) return INK_OK;
    if (!json_is_string(value))
        return inki_fail(error, INK_E_FORMAT, where, 0, "%s is %s, a string was expected", key,
                         inki_json_kind(value));
    *out = json_string_value(value);
    return INK_OK;
}
