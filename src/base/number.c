// SPDX-License-Identifier: MIT
//
// strtod and printf follow the locale of the host, and floating-point arithmetic its rounding mode,
// so both directions are done in integers. Reading: digits * 10^e is digits * 5^e * 2^e, and a
// product or quotient by a power of five needs only short multiplications or divisions of one large
// integer, whose leading bits are then rounded. Writing: a float times the right power of ten is an
// integer of at most 112 digits; it is cut to 1, 2, 3 ... digits until reading gives the float
// back.
#include "base/number.h"

#include "base/half.h"

enum { BIG_LIMBS = 32, KEPT_DIGITS = 19, FLOAT_DIGITS = 9, EXACT_DIGITS = 128 };

typedef struct big_number {
    uint32_t limb[BIG_LIMBS]; // least significant first
    uint32_t n;
} big_number;

static void big_set(big_number *b, uint64_t value) {
    b->n = 0;
    for (; value != 0; value >>= 32) b->limb[b->n++] = (uint32_t)value;
}

// b = b * factor. The callers' ranges keep it within BIG_LIMBS (see decimal_to_bits).
static void big_multiply(big_number *b, uint32_t factor) {
    uint64_t carry = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        carry += (uint64_t)b->limb[i] * factor;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0) b->limb[b->n++] = (uint32_t)carry;
}

// b = b / divisor; returns the remainder.
static uint32_t big_divide(big_number *b, uint32_t divisor) {
    uint64_t rest = 0;
    for (uint32_t i = b->n; i-- > 0;) {
        rest = rest << 32 | b->limb[i];
        b->limb[i] = (uint32_t)(rest / divisor);
        rest %= divisor;
    }
    while (b->n > 0 && b->limb[b->n - 1] == 0) b->n--;
    return (uint32_t)rest;
}

// b = b * 2^bits
static void big_shift(big_number *b, uint32_t bits) {
    const uint32_t whole = bits / 32, part = bits % 32;
    for (uint32_t i = b->n; i-- > 0;) b->limb[i + whole] = b->limb[i];
    for (uint32_t i = 0; i < whole; i++) b->limb[i] = 0;
    if (b->n > 0) b->n += whole;
    big_multiply(b, (uint32_t)1 << part);
}

static uint32_t big_bits(const big_number *b) {
    if (b->n == 0) return 0;
    uint32_t n = 0;
    for (uint32_t top = b->limb[b->n - 1]; top != 0; top >>= 1) n++;
    return (b->n - 1) * 32 + n;
}

static bool big_bit(const big_number *b, uint32_t i) { return b->limb[i / 32] >> i % 32 & 1; }

enum { POW5_STEP = 13 };
static uint32_t pow5(uint32_t n) { // n <= 13: 5^13 is the largest that fits
    uint32_t p = 1;
    while (n-- > 0) p *= 5;
    return p;
}

// A binary format: bits of the mantissa, exponent of the smallest subnormal, bits of infinity.
typedef struct float_format {
    int32_t mantissa_bits, least;
    uint64_t infinity;
} float_format;
static const float_format format_double = {53, -1074, (uint64_t)0x7ff << 52};
static const float_format format_float = {24, -149, (uint64_t)0xff << 23};

// The bits of the number nearest to b * 2^exponent; `more`: a bit above that, less than one unit.
static uint64_t round_to_bits(const big_number *b, int32_t exponent, bool more,
                              const float_format *f) {
    const int32_t n_bits = (int32_t)big_bits(b);
    int32_t unit = n_bits - f->mantissa_bits + exponent; // exponent of the mantissa's last bit
    if (unit < f->least) unit = f->least;
    const int32_t drop = unit - exponent;
    uint64_t mantissa = 0;
    for (int32_t i = n_bits - 1; i >= 0 && i >= drop; i--)
        mantissa = mantissa << 1 | big_bit(b, (uint32_t)i);
    if (drop < 0) mantissa <<= -drop;
    if (drop > 0 && drop <= n_bits && big_bit(b, (uint32_t)drop - 1)) {
        bool up = more || (mantissa & 1);
        for (int32_t i = drop - 2; i >= 0 && !up; i--) up = big_bit(b, (uint32_t)i);
        mantissa += up;
    }
    // Adding instead of joining lets a carry out of the mantissa raise the exponent, and a mantissa
    // without its leading bit become a subnormal.
    const uint64_t bits = ((uint64_t)(unit - f->least) << (f->mantissa_bits - 1)) + mantissa;
    return bits < f->infinity ? bits : f->infinity;
}

// digits * 10^exponent as the bits of a double. Beyond the two limits the result is clear whatever
// the digits are, and within them the integers stay below 1024 bits.
static uint64_t decimal_to_bits(uint64_t digits, int64_t exponent, bool more) {
    if (digits == 0 || exponent < -343) return 0;
    if (exponent > 309) return format_double.infinity;
    const int32_t e = (int32_t)exponent;
    big_number b;
    big_set(&b, digits);
    if (e >= 0) {
        uint32_t left = (uint32_t)e;
        for (; left > POW5_STEP; left -= POW5_STEP) big_multiply(&b, pow5(POW5_STEP));
        big_multiply(&b, pow5(left));
        return round_to_bits(&b, e, more, &format_double);
    }
    // 5^n is below 2^(7n/3): the shift leaves a quotient of at least 66 bits.
    uint32_t left = (uint32_t)-e;
    const uint32_t shift = left * 7 / 3 + 67;
    big_shift(&b, shift);
    for (; left > 0; left -= left < POW5_STEP ? left : POW5_STEP)
        if (big_divide(&b, pow5(left < POW5_STEP ? left : POW5_STEP)) != 0) more = true;
    return round_to_bits(&b, e - (int32_t)shift, more, &format_double);
}

static double double_from_bits(uint64_t bits) {
    double d;
    memcpy(&d, &bits, 8);
    return d;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The exponent at s [n] behind the "e". Far beyond any use it stops growing.
static bool read_exponent(const char *s, size_t n, int64_t *out) {
    size_t i = 0;
    const bool negative = n > 0 && s[0] == '-';
    if (n > 0 && (s[0] == '-' || s[0] == '+')) i++;
    if (i == n) return false;
    int64_t value = 0;
    for (; i < n; i++) {
        if (!is_digit(s[i])) return false;
        if (value < (int64_t)1 << 56) value = value * 10 + (s[i] - '0');
    }
    *out = negative ? -value : value;
    return true;
}

bool inki_parse_double(const char *s, size_t n, double *out) {
    size_t i = 0;
    const uint64_t sign = n > 0 && s[0] == '-' ? (uint64_t)1 << 63 : 0;
    if (sign != 0) i++;
    if (n - i == 3 && memcmp(s + i, "inf", 3) == 0) {
        *out = double_from_bits(sign | format_double.infinity);
        return true;
    }
    uint64_t digits = 0;
    int64_t exponent = 0;
    uint32_t n_kept = 0;
    bool any = false, point = false, more = false;
    for (; i < n && (is_digit(s[i]) || (s[i] == '.' && !point)); i++) {
        if (s[i] == '.') {
            point = true;
            continue;
        }
        any = true;
        if (n_kept < KEPT_DIGITS) {
            digits = digits * 10 + (uint64_t)(s[i] - '0');
            n_kept += digits != 0;
            exponent -= point;
        } else {
            more = more || s[i] != '0';
            exponent += !point;
        }
    }
    int64_t written = 0;
    if (!any) return false;
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        if (!read_exponent(s + i + 1, n - i - 1, &written)) return false;
        i = n;
    }
    if (i != n) return false;
    *out = double_from_bits(sign | decimal_to_bits(digits, exponent + written, more));
    return true;
}

// A decimal number 0.DDD * 10^point.
typedef struct decimal_text {
    char digit[EXACT_DIGITS];
    int32_t n, point;
} decimal_text;

// All digits of mantissa * 2^exponent. A negative exponent is turned into a decimal one:
// 2^-k = 5^k * 10^-k.
static void exact_digits(uint32_t mantissa, int32_t exponent, decimal_text *out) {
    big_number b;
    big_set(&b, mantissa);
    if (exponent >= 0) {
        big_shift(&b, (uint32_t)exponent);
    } else {
        uint32_t left = (uint32_t)-exponent;
        for (; left > POW5_STEP; left -= POW5_STEP) big_multiply(&b, pow5(POW5_STEP));
        big_multiply(&b, pow5(left));
    }
    char reversed[EXACT_DIGITS];
    int32_t n = 0;
    while (b.n > 0) {
        uint32_t group = big_divide(&b, 1000000000);
        for (int i = 0; i < 9 && (b.n > 0 || group != 0); i++, group /= 10)
            reversed[n++] = (char)('0' + group % 10);
    }
    for (int32_t i = 0; i < n; i++) out->digit[i] = reversed[n - 1 - i];
    out->n = n;
    out->point = exponent < 0 ? n + exponent : n;
}

// To nearest; a tie goes to the even digit.
static bool rounds_up(const decimal_text *exact, int32_t n) {
    if (n >= exact->n || exact->digit[n] < '5') return false;
    if (exact->digit[n] > '5' || exact->digit[n - 1] % 2 != 0) return true;
    for (int32_t i = n + 1; i < exact->n; i++)
        if (exact->digit[i] != '0') return true;
    return false;
}

// `exact` cut to n digits, one unit up if asked for; trailing zeros go.
static void cut_digits(const decimal_text *exact, int32_t n, bool up, decimal_text *out) {
    out->point = exact->point;
    for (int32_t i = 0; i < n; i++) out->digit[i] = i < exact->n ? exact->digit[i] : '0';
    if (up) {
        int32_t i = n - 1;
        for (; i >= 0 && out->digit[i] == '9'; i--) out->digit[i] = '0';
        if (i >= 0) {
            out->digit[i]++;
        } else {
            out->digit[0] = '1';
            out->point++;
        }
    }
    while (n > 1 && out->digit[n - 1] == '0') n--;
    out->n = n;
}

// Whether the float next to the double that reading gives has these bits. A cast would do, were it
// not for the host's rounding mode.
static bool reads_back(const decimal_text *d, uint32_t magnitude_bits) {
    uint64_t digits = 0;
    for (int32_t i = 0; i < d->n; i++) digits = digits * 10 + (uint64_t)(d->digit[i] - '0');
    const uint64_t bits = decimal_to_bits(digits, d->point - d->n, false);
    const uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    if (bits >> 52 == 0 || bits >= format_double.infinity) return false; // no finite float is near
    big_number b;
    big_set(&b, fraction | (uint64_t)1 << 52);
    return round_to_bits(&b, (int32_t)(bits >> 52) - 1075, false, &format_float) == magnitude_bits;
}

static size_t write_decimal(const decimal_text *d, char *out) {
    char *o = out;
    const int32_t e = d->point - 1;
    if (e < -5 || e >= 15) {
        *o++ = d->digit[0];
        if (d->n > 1) *o++ = '.';
        for (int32_t i = 1; i < d->n; i++) *o++ = d->digit[i];
        *o++ = 'e';
        if (e < 0) *o++ = '-';
        const int32_t a = e < 0 ? -e : e;
        if (a >= 10) *o++ = (char)('0' + a / 10);
        *o++ = (char)('0' + a % 10);
        return (size_t)(o - out);
    }
    if (d->point <= 0) {
        *o++ = '0';
        *o++ = '.';
        for (int32_t i = d->point; i < 0; i++) *o++ = '0';
    }
    for (int32_t i = 0; i < d->n || i < d->point; i++) {
        if (i == d->point && i > 0) *o++ = '.';
        *o++ = (char)(i < d->n ? d->digit[i] : '0');
    }
    return (size_t)(o - out);
}

static void shortest_digits(uint32_t magnitude_bits, decimal_text *out) {
    const uint32_t biased = magnitude_bits >> 23, fraction = magnitude_bits & 0x7fffff;
    decimal_text exact;
    if (biased == 0)
        exact_digits(fraction, -149, &exact);
    else
        exact_digits(fraction | 0x800000, (int32_t)biased - 150, &exact);
    for (int32_t n = 1; n <= FLOAT_DIGITS; n++) {
        // The nearer neighbour first. At a power of two the interval of the float is lopsided, and
        // the farther one may be in it where the nearer is not.
        const bool up = rounds_up(&exact, n);
        cut_digits(&exact, n, up, out);
        if (reads_back(out, magnitude_bits)) return;
        cut_digits(&exact, n, !up, out);
        if (n < FLOAT_DIGITS && reads_back(out, magnitude_bits)) return;
        if (n == FLOAT_DIGITS) cut_digits(&exact, n, up, out);
    }
}

size_t inki_format_float(float value, char *out, size_t cap) {
    const uint32_t bits = inki_f32_bits(value), magnitude = bits & 0x7fffffff;
    if (cap < 32) {
        if (cap > 0) out[0] = 0;
        return 0;
    }
    size_t n = 0;
    if (magnitude > 0x7f800000) {
        memcpy(out, "nan", 4);
        return 3;
    }
    if (bits != magnitude) out[n++] = '-';
    if (magnitude == 0x7f800000) {
        memcpy(out + n, "inf", 3);
        n += 3;
    } else if (magnitude == 0) {
        out[n++] = '0';
    } else {
        decimal_text d;
        shortest_digits(magnitude, &d);
        n += write_decimal(&d, out + n);
    }
    out[n] = 0;
    return n;
}
