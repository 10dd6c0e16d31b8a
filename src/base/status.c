// SPDX-License-Identifier: MIT
#include "inkling/inkling.h"

const char *ink_status_name(int32_t status) {
    switch (status) {
#define STATUS_NAME(name, number, text)                                                            \
    case number: return "INK_" #name;
        INK_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    default: return "unknown";
    }
}

const char *ink_status_text(int32_t status) {
    switch (status) {
#define STATUS_TEXT(name, number, text)                                                            \
    case number: return text;
        INK_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    default: return "unknown status";
    }
}
