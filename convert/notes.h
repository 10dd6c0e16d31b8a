// SPDX-License-Identifier: MIT
// What a conversion tells while it runs.
#ifndef INKI_CONVERT_NOTES_H
#define INKI_CONVERT_NOTES_H

#include "convert/convert.h"

// One line to options->note, cut at 255 bytes.
void inki_note(const inki_convert_options *options, const char *format, ...) INKI_PRINTF(2, 3);
// Errors: INK_E_CANCELLED.
ink_status inki_progress(const inki_convert_options *options, double fraction, const char *what,
                         ink_error *error);

#endif
