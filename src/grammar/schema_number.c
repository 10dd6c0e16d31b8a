// SPDX-License-Identifier: MIT
#include "grammar/schema_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Numbers are counted in units of 10^-n, n decimals; at most 15 digits, as that many are told apart
// as doubles.
enum { MOST_DECIMALS = 9 };
static const int64_t most_units = 999999999999999;

// A number as it is written: digits × 10^exponent.
typedef struct bound {
    int64_t digits;
    int exponent;
    bool negative, cut; // cut: there are more digits
} bound;

static bound decimal_of(inki_str text) {
    bound d = {0};
    size_t i = 0;
    bool fraction = false;
    for (; i < text.bytes && (text.data[i] | 0x20) != 'e'; i++) {
        const int digit = text.data[i] - '0';
        d.negative |= text.data[i] == '-';
        fraction |= text.data[i] == '.';
        if (digit < 0 || digit > 9) continue;
        if (d.digits > most_units) {
            d.cut |= digit != 0;
            d.exponent += !fraction;
        } else {
            d.digits = d.digits * 10 + digit;
            d.exponent -= fraction;
        }
    }
    const bool less = i + 1 < text.bytes && text.data[i + 1] == '-';
    int exponent = 0;
    for (i++; i < text.bytes; i++)
        if (text.data[i] >= '0' && text.data[i] <= '9' && exponent < 1 << 24)
            exponent = exponent * 10 + (text.data[i] - '0');
    d.exponent += less ? -exponent : exponent;
    while (d.digits != 0 && d.digits % 10 == 0) {
        d.digits /= 10;
        d.exponent++;
    }
    if (d.digits == 0) d.exponent = 0;
    return d;
}

// In units, rounded down or up; *even: it is that many exactly.
static int64_t units_of(bound d, int decimals, bool up, bool *even) {
    int64_t units = d.digits;
    int exponent = d.exponent + decimals;
    bool rest = d.cut;
    for (; exponent > 0 && units != 0 && units <= most_units; exponent--) units *= 10;
    for (; exponent < 0 && units != 0; exponent++) {
        rest |= units % 10 != 0;
        units /= 10;
    }
    *even = !rest;
    if (d.negative) units = -units;
    return units + (rest && up != d.negative ? (up ? 1 : -1) : 0);
}

// Digits [n] from low to high. Behind a point (more >= 0) there may be as many more of them, and
// fewer where they would be zeros.
static void put_digits(inki_schema *s, const char *low, const char *high, int n, int more) {
    static const char nines[] = "999999999999999", zeros[] = "000000000000000";
    int same = 0;
    while (same < n && low[same] == high[same]) same++;
    if (same > 0) inki_schema_put(s, "\"%.*s\" ", same, low);
    low += same;
    high += same;
    n -= same;
    if (n == 0) {
        if (more > 0) inki_schema_put(s, "[0-9]{0,%d} ", more);
        return;
    }
    // Where the digits behind the first may be any, its bound is among those between.
    const bool low_any = memcmp(low + 1, zeros, (size_t)n - 1) == 0;
    const bool high_any = memcmp(high + 1, nines, (size_t)n - 1) == 0;
    const int from = low[0] + !low_any, to = high[0] - !high_any;
    const bool stop = more >= 0 && same > 0 && memcmp(low, zeros, (size_t)n) == 0;
    const int least = more < 0 ? n - 1 : 0, most = more < 0 ? n - 1 : n - 1 + more;
    inki_schema_put(s, "(");
    if (!low_any) {
        inki_schema_put(s, "\"%c\" ", low[0]);
        put_digits(s, low + 1, nines, n - 1, more);
        if (from <= to || !high_any) inki_schema_put(s, "| ");
    }
    if (from <= to) inki_schema_put(s, "[%c-%c] [0-9]{%d,%d} ", from, to, least, most);
    if (!high_any) {
        if (from <= to) inki_schema_put(s, "| ");
        inki_schema_put(s, "\"%c\" (", high[0]);
        put_digits(s, zeros, high + 1, n - 1, more);
        inki_schema_put(s, more < 0 ? ")" : ")?");
    }
    inki_schema_put(s, stop ? ")? " : ") ");
}

static uint32_t digits_text(int64_t value, uint32_t least, char *out) {
    return (uint32_t)snprintf(out, 24, "%0*" PRId64, (int)least, value);
}

// Whole numbers from low to high, neither below 0: those of each length.
static void put_whole(inki_schema *s, int64_t low, int64_t high) {
    const char *between = "(";
    int64_t first = 0, last = 9;
    for (uint32_t n = 1; n <= 15; n++, first = last + 1, last = last * 10 + 9) {
        char a[24], b[24];
        if (low > last || high < first) continue;
        inki_schema_put(s, "%s", between);
        between = " | ";
        (void)digits_text(low > first ? low : first, 1, a);
        put_digits(s, a, b, (int)digits_text(high < last ? high : last, 1, b), -1);
    }
    inki_schema_put(s, ")");
}

// An alternative: whole.[low, high) with the digits that may follow there.
static void put_decimals(inki_schema *s, uint32_t rule, const char *sign, int64_t whole,
                         const int64_t range[2], uint32_t n) {
    char a[24], b[24];
    if (range[0] >= range[1]) return;
    (void)digits_text(range[0], n, a);
    (void)digits_text(range[1] - 1, n, b);
    const int used = (int)(n + digits_text(whole, 1, (char[24]){0}));
    inki_schema_begin(s, rule);
    inki_schema_put(s, "\"%s%" PRId64 ".\" ", sign, whole);
    put_digits(s, a, b, (int)n, used < 15 ? 15 - used : 0);
    inki_schema_end(s);
}

// From low to high units, neither below 0.
static void put_range(inki_schema *s, uint32_t rule, const char *sign, int64_t low, int64_t high,
                      uint32_t decimals) {
    int64_t unit = 1;
    for (uint32_t i = 0; i < decimals; i++) unit *= 10;
    const int64_t from = low / unit, to = high / unit;
    const int64_t first[] = {low % unit, from < to ? unit : high % unit};
    const int64_t last[] = {from < to ? 0 : low % unit, high % unit};
    const int64_t whole = from + (first[0] > 0); // the first of which all is inside
    if (low > high) return;
    if (first[0] > 0 && from < to) put_decimals(s, rule, sign, from, first, decimals);
    put_decimals(s, rule, sign, to, last, decimals);
    if (last[1] > 0) {
        char digits[24];
        uint32_t n = digits_text(last[1], decimals, digits);
        while (digits[n - 1] == '0') n--;
        inki_schema_begin(s, rule);
        inki_schema_put(s, "\"%s%" PRId64 ".%.*s\"", sign, to, (int)n, digits);
        inki_schema_end(s);
    }
    if (whole > to) return;
    inki_schema_begin(s, rule);
    inki_schema_put(s, "\"%s\" ", sign);
    put_whole(s, whole, to);
    inki_schema_end(s);
    if (decimals == 0 || whole == to) return;
    inki_schema_begin(s, rule);
    inki_schema_put(s, "\"%s\" ", sign);
    put_whole(s, whole, to - 1);
    inki_schema_put(s, " \".\" [0-9]{1,%u}", 15 - digits_text(to, 1, (char[24]){0}));
    inki_schema_end(s);
}

void inki_schema_number(inki_schema *s, uint32_t rule, const inki_schema_all *all, bool integer) {
    int64_t range[2] = {INT64_MIN, INT64_MAX};
    int decimals = integer ? 0 : 1;
    // The first turn finds how fine the units must be.
    for (uint32_t i = 0; i < 8 * all->n; i++) {
        const uint32_t which = i % 4, schema = all->node[i / 4 % all->n];
        const bool upper = which > 1, exclusive = which % 2 != 0;
        const uint32_t node = inki_schema_get(s, schema, INKI_KEY_MINIMUM + which);
        if (node == 0) continue;
        const inki_str text = s->json.nodes[node].text;
        if (!inki_schema_work(s, 4 + text.bytes / 4)) return;
        const bound d = decimal_of(text);
        // An exclusive bound of numbers is moved in by a hundredth of its last digit.
        const int wanted = (d.exponent < 0 ? -d.exponent : 0) + 2 * exclusive;
        if (i < 4 * all->n) {
            if (!integer && wanted > decimals)
                decimals = wanted < MOST_DECIMALS ? wanted : MOST_DECIMALS;
            continue;
        }
        bool even;
        int64_t units = units_of(d, decimals, !upper, &even);
        if (exclusive && even) units += upper ? -1 : 1;
        if ((units < range[upper]) == upper) range[upper] = units;
    }
    if (range[0] == INT64_MIN && range[1] == INT64_MAX) {
        inki_schema_begin(s, rule);
        inki_schema_put(s, "\1%u", integer ? INKI_RULE_INTEGER : INKI_RULE_NUMBER);
        inki_schema_end(s);
        return;
    }
    if (range[0] > most_units || range[1] < -most_units) {
        inki_schema_fail(s, INK_E_LIMIT, all->node[0], "numbers of over 15 digits are asked for");
        return;
    }
    // Without an upper bound: nine digits before the point, where that is more than the lower one.
    int64_t open = integer ? most_units : 1000000000;
    for (int i = 0; i < decimals && open < most_units; i++) open *= 10;
    if (open > most_units) open = most_units;
    if (range[1] == INT64_MAX) range[1] = range[0] < open / 2 ? open : most_units;
    if (range[0] == INT64_MIN) range[0] = range[1] > -open / 2 ? -open : -most_units;
    if (range[0] < -most_units) range[0] = -most_units;
    if (range[1] > most_units) range[1] = most_units;
    put_range(s, rule, "", range[0] > 0 ? range[0] : 0, range[1], (uint32_t)decimals);
    // -0 only where it begins a fraction.
    const int64_t least = integer || range[0] == 0 ? 1 : 0;
    put_range(s, rule, "-", range[1] < 0 ? -range[1] : least, -range[0], (uint32_t)decimals);
}
