// SPDX-License-Identifier: MIT
// Whether text is well-formed XML, of the kind that programs write: no document type, no processing
// instructions, no comments, no CDATA.
#ifndef TESTS_XML_CHECK_H
#define TESTS_XML_CHECK_H

#include <stddef.h>

// NULL, or what is wrong; *at is the byte where it was seen.
const char *xml_check(const char *text, size_t bytes, size_t *at);

#endif
