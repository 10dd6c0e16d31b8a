// SPDX-License-Identifier: MIT
// Token ids as requests bring them.
#ifndef SERVER_TOKEN_CALLS_H
#define SERVER_TOKEN_CALLS_H

#include "server/failure.h"

#include <stddef.h>

// The array's ids, each inside the vocabulary, into out [json_array_size(ids)]. False: refused,
// naming param; `where` tells which of several arrays it is, "" where there is one.
bool srv_ids_read(const json_t *ids, const ink_model *model, ink_token *out, const char *param,
                  const char *where, srv_failure *why);

#endif
