// SPDX-License-Identifier: MIT
// loss.svg: the loss over the steps as a picture that needs no script and no font of its own.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"
#include "cli/report.h"
#include "cli/text.h"
#include "cli/train_job.h"

// Points of each curve, so that a picture of any run stays below 2000 of them.
enum { RAW_POINTS = 400, SMOOTH_POINTS = 400, HELD_POINTS = 300, RATE_POINTS = 200 };
enum { WIDTH = 880, HEIGHT = 480, LEFT = 66, RIGHT = 78, TOP = 84, BOTTOM = 56 };
enum { PLOT_W = WIDTH - LEFT - RIGHT, PLOT_H = HEIGHT - TOP - BOTTOM };

typedef struct row {
    double step, loss, held, rate; // held: NAN where nothing was validated
} row;
typedef struct scale {
    double low, high, tick;
    bool log; // logarithmic; tick has no meaning then
} scale;
typedef struct chart {
    row *rows; // [n]
    size_t n;
    double *smooth; // [n]
    double n_tokens;
    size_t best; // the row with the best validation; n: none
    scale x, loss, rate;
    FILE *out;
} chart;

// --- the log -------------------------------------------------------------------------------------

// One line; false for what is none.
static bool read_row(const char *line, row *r, double *n_tokens) {
    char *end;
    double field[6];
    for (int i = 0; i < 6; i++) {
        field[i] = i == 4 && *line == ',' ? NAN : strtod(line, &end);
        if (!(i == 4 && *line == ',')) {
            if (end == line || *end != ',') return false;
            line = end;
        }
        line++;
    }
    *r = (row){field[0], field[3], field[4], field[5]};
    *n_tokens = field[1];
    return isfinite(r->step) && isfinite(r->loss) && isfinite(r->rate) && r->step >= 0;
}

static int read_rows(chart *c, char *text) {
    size_t lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++) lines++;
    c->rows = malloc((lines + 1) * sizeof *c->rows);
    c->smooth = malloc((lines + 1) * sizeof *c->smooth);
    double last = -1;
    if (c->rows == NULL || c->smooth == NULL) return -1;
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0; // strtod reads over line ends
        row *r = &c->rows[c->n];
        if (!read_row(line, r, &c->n_tokens) || r->step <= last) continue;
        last = r->step;
        c->n++;
    }
    return 0;
}

// The mean of the rows around each, as many as a fiftieth of all.
static void smooth(chart *c) {
    const size_t half = c->n / 100;
    double sum = 0;
    size_t begin = 0, end = 0;
    for (size_t i = 0; i < c->n; i++) {
        const size_t reach = i < half ? i : i + half >= c->n ? c->n - 1 - i : half;
        while (end < i + reach + 1) sum += c->rows[end++].loss;
        while (begin < i - reach) sum -= c->rows[begin++].loss;
        while (end > i + reach + 1) sum -= c->rows[--end].loss;
        c->smooth[i] = sum / (double)(end - begin);
    }
}

// --- axes ----------------------------------------------------------------------------------------

static double nice_tick(double span, int n) {
    const double raw = span / n, power = pow(10, floor(log10(raw))), x = raw / power;
    return power * (x < 1.5 ? 1 : x < 3.5 ? 2 : x < 7.5 ? 5 : 10);
}

static scale fit(double low, double high, int n) {
    if (!(high > low)) high = low + (low != 0 ? fabs(low) / 10 : 1);
    const double tick = nice_tick(high - low, n);
    return (scale){floor(low / tick + 1e-9) * tick, ceil(high / tick - 1e-9) * tick, tick, false};
}

// A loss falls fast and then slowly for long: only ratios show both.
static scale fit_loss(double low, double high) {
    if (!(low > 0) || high < 1.5 * low || high > 1000 * low) return fit(low, high, 6);
    const double room = pow(high / low, 0.06);
    return (scale){low / room, high * room, 0, true};
}

static void measure(chart *c) {
    double low = INFINITY, high = -INFINITY, rate = 0;
    c->best = c->n;
    for (size_t i = 0; i < c->n; i++) {
        const double held = c->rows[i].held;
        low = fmin(low, c->smooth[i]);
        high = fmax(high, c->smooth[i]);
        rate = fmax(rate, c->rows[i].rate);
        if (!isfinite(held)) continue;
        low = fmin(low, held);
        high = fmax(high, held);
        if (c->best == c->n || held < c->rows[c->best].held) c->best = i;
    }
    c->loss = fit_loss(low, high);
    c->rate = fit(0, rate, 4);
    c->x = fit(0, c->rows[c->n - 1].step, 8);
    c->x.tick = fmax(c->x.tick, 1); // there are no half steps
    c->x.high = fmax(c->rows[c->n - 1].step, 1);
}

static double x_of(const chart *c, double step) { return LEFT + PLOT_W * step / c->x.high; }
static double y_of(const scale *s, double v) {
    const double share =
        s->log ? log(v / s->low) / log(s->high / s->low) : (v - s->low) / (s->high - s->low);
    return TOP + PLOT_H * (1 - share);
}

// --- drawing -------------------------------------------------------------------------------------

static const char style[] =
    "text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#3d444d}"
    ".page{fill:#fff}.title{font-size:15px;font-weight:600;fill:#1f2328}"
    ".grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#818b98;stroke-width:1}"
    ".raw,.train,.held,.rate{fill:none;stroke-linejoin:round;stroke-linecap:round}"
    ".raw{stroke:#0969da;stroke-width:1;opacity:.4}.train{stroke:#0969da;stroke-width:2}"
    ".held{stroke:#bc4c00;stroke-width:1.5}.dot{fill:#bc4c00}"
    ".best{fill:none;stroke:#bc4c00;stroke-width:2}"
    ".rate{stroke:#6e7781;stroke-width:1.25;stroke-dasharray:5 4}.end{text-anchor:end}"
    ".mid{text-anchor:middle}.mark{paint-order:stroke;stroke:#fff;stroke-width:4px}"
    "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.page{fill:#0d1117}.title{fill:#f0f6fc}"
    ".grid{stroke:#262c36}.axis{stroke:#6e7681}.raw,.train{stroke:#58a6ff}"
    ".held,.best{stroke:#ffa657}.dot{fill:#ffa657}.rate{stroke:#9198a1}.mark{stroke:#0d1117}}";

// XML has no other control characters than these, not even written as numbers.
static void put_text(FILE *out, const char *text) {
    const size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        char step[CLI_TEXT_STEP];
        size_t put;
        i += cli_text_step(text + i, n - i, "", step, &put);
        if (put != 1)
            fwrite(step, 1, put, out);
        else if (*step == '&' || *step == '<' || *step == '>')
            fputs(*step == '&' ? "&amp;" : *step == '<' ? "&lt;" : "&gt;", out);
        else
            fputc(*step, out);
    }
}

// Ticks that are whole numbers have no point.
static void put_tick(FILE *out, double v, double tick) {
    char count[CLI_TRAIN_TEXT];
    const int digits = tick >= 1 ? 0 : (int)ceil(-log10(tick) - 1e-9);
    if (digits == 0 && v >= 0 && v < 1e15)
        fputs(cli_train_count((uint64_t)(v + 0.5), count), out);
    else
        fprintf(out, "%.*f", digits, v);
}

static void draw_grid_line(const chart *c, double v, double tick) {
    const double y = y_of(&c->loss, v);
    fprintf(c->out, "<path class=\"grid\" d=\"M%d %.1fh%d\"/>", LEFT, y, PLOT_W);
    fprintf(c->out, "<text class=\"end\" x=\"%d\" y=\"%.1f\">", LEFT - 8, y + 4);
    put_tick(c->out, v, tick);
    fputs("</text>\n", c->out);
}

static void draw_grid(const chart *c) {
    const scale *s = &c->loss;
    for (int i = 0; s->low + i * s->tick < s->high + s->tick / 2; i++)
        draw_grid_line(c, s->low + i * s->tick, s->tick);
}

// Round numbers, those left out that would stand too close to one before.
static void draw_log_grid(const chart *c) {
    static const double round_ones[] = {1, 2, 5, 3, 1.5, 4, 7, 2.5, 6, 1.2, 8, 1.8, 3.5, 9};
    enum { MOST = 64, CLOSE = 24 };
    double taken[MOST];
    int n = 0;
    for (size_t i = 0; i < sizeof round_ones / sizeof *round_ones; i++) {
        for (int power = -4; power <= 4; power++) {
            const double unit = pow(10, power), v = round_ones[i] * unit, y = y_of(&c->loss, v);
            bool fits = v >= c->loss.low && v <= c->loss.high && n < MOST;
            for (int k = 0; k < n; k++) fits = fits && fabs(taken[k] - y) >= CLOSE;
            if (!fits) continue;
            taken[n++] = y;
            draw_grid_line(c, v, round_ones[i] == floor(round_ones[i]) ? unit : unit / 10);
        }
    }
}

static void draw_axes(const chart *c) {
    FILE *out = c->out;
    const double bottom = TOP + PLOT_H;
    if (c->loss.log)
        draw_log_grid(c);
    else
        draw_grid(c);
    for (int i = 0; i * c->rate.tick < c->rate.high + c->rate.tick / 2 && c->rate.high > 0; i++) {
        const double v = i * c->rate.tick, y = y_of(&c->rate, v);
        fprintf(out, "<path class=\"axis\" d=\"M%d %.1fh5\"/>", LEFT + PLOT_W, y);
        fprintf(out, "<text x=\"%d\" y=\"%.1f\">%.3g</text>\n", LEFT + PLOT_W + 9, y + 4, v);
    }
    for (int i = 0; i * c->x.tick <= c->x.high * 1.0001; i++) {
        const double v = i * c->x.tick, x = x_of(c, v);
        fprintf(out, "<path class=\"axis\" d=\"M%.1f %.1fv5\"/>", x, bottom);
        fprintf(out, "<text class=\"mid\" x=\"%.1f\" y=\"%.1f\">", x, bottom + 20);
        put_tick(out, v, c->x.tick);
        fputs("</text>\n", out);
    }
    fprintf(out, "<path class=\"axis\" d=\"M%d %.1fh%d\"/>\n", LEFT, bottom, PLOT_W);
    char tokens[CLI_TRAIN_TEXT];
    fprintf(out, "<text class=\"mid\" x=\"%d\" y=\"%d\">steps (%s tokens in all)</text>\n",
            LEFT + PLOT_W / 2, HEIGHT - 14, cli_train_count((uint64_t)c->n_tokens, tokens));
    fprintf(out,
            "<text class=\"mid\" transform=\"translate(18 %d)rotate(-90)\">loss, nats a "
            "token%s</text>\n",
            TOP + PLOT_H / 2, c->loss.log ? " (logarithmic)" : "");
    fprintf(out,
            "<text class=\"mid\" transform=\"translate(%d %d)rotate(90)\">learning "
            "rate</text>\n",
            WIDTH - 16, TOP + PLOT_H / 2);
}

static void point(const chart *c, bool *first, double step, const scale *s, double v) {
    fprintf(c->out, "%s%.1f %.1f", *first ? "M" : "L", x_of(c, step), y_of(s, v));
    *first = false;
}

// The least and the largest of each bucket: no spike is lost.
static void draw_raw(const chart *c) {
    const size_t n = c->n < RAW_POINTS ? c->n : RAW_POINTS;
    bool first = true;
    fputs("<path class=\"raw\" d=\"", c->out);
    for (size_t i = 0; i < n; i++) {
        const size_t begin = i * c->n / n, end = (i + 1) * c->n / n;
        size_t low = begin, high = begin;
        for (size_t k = begin; k < end; k++) {
            if (c->rows[k].loss < c->rows[low].loss) low = k;
            if (c->rows[k].loss > c->rows[high].loss) high = k;
        }
        const size_t a = low < high ? low : high, b = low < high ? high : low;
        point(c, &first, c->rows[a].step, &c->loss, c->rows[a].loss);
        if (b != a) point(c, &first, c->rows[b].step, &c->loss, c->rows[b].loss);
    }
    fputs("\"/>\n", c->out);
}

static size_t nth(size_t i, size_t n, size_t n_points) {
    return i * (n - 1) / (n_points > 1 ? n_points - 1 : 1);
}

static void draw_lines(const chart *c) {
    size_t n = c->n < RATE_POINTS ? c->n : RATE_POINTS;
    bool first = true;
    fputs("<path class=\"rate\" d=\"", c->out);
    for (size_t i = 0; i < n; i++) {
        const row *r = &c->rows[nth(i, c->n, n)];
        point(c, &first, r->step, &c->rate, r->rate);
    }
    n = c->n < SMOOTH_POINTS ? c->n : SMOOTH_POINTS;
    first = true;
    fputs("\"/>\n<path class=\"train\" d=\"", c->out);
    for (size_t i = 0; i < n; i++) {
        const size_t k = nth(i, c->n, n);
        point(c, &first, c->rows[k].step, &c->loss, c->smooth[k]);
    }
    fputs("\"/>\n", c->out);
}

enum { DOTS = 60 };

static void draw_held(const chart *c) {
    size_t n_held = 0, seen = 0;
    bool first = true;
    for (size_t i = 0; i < c->n; i++) n_held += isfinite(c->rows[i].held) != 0;
    if (n_held == 0) return;
    const size_t every = 1 + (n_held - 1) / HELD_POINTS;
    fputs("<path class=\"held\" d=\"", c->out);
    for (size_t i = 0; i < c->n; i++)
        if (isfinite(c->rows[i].held) && (seen++ % every == 0 || seen == n_held || i == c->best))
            point(c, &first, c->rows[i].step, &c->loss, c->rows[i].held);
    fputs("\"/>\n", c->out);
    for (size_t i = 0; i < c->n && n_held <= DOTS; i++)
        if (isfinite(c->rows[i].held))
            fprintf(c->out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n",
                    x_of(c, c->rows[i].step), y_of(&c->loss, c->rows[i].held));
}

static void draw_best(const chart *c) {
    if (c->best == c->n) return;
    char step[CLI_TRAIN_TEXT];
    const row *r = &c->rows[c->best];
    const double x = x_of(c, r->step), y = y_of(&c->loss, r->held);
    const bool left = x > LEFT + PLOT_W * 0.7;
    fprintf(c->out, "<circle class=\"best\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", x, y);
    fprintf(c->out, "<text class=\"mark%s\" x=\"%.1f\" y=\"%.1f\">best %.3f at step %s</text>\n",
            left ? " end" : "", x + (left ? -2 : 2), y - 12, r->held,
            cli_train_count((uint64_t)r->step, step));
}

static void draw_legend(const chart *c, const char *title) {
    static const struct {
        const char *class, *text;
        int x;
    } items[] = {{"train", "training text, smoothed", 0},
                 {"raw", "each step", 190},
                 {"held", "held-out text", 294},
                 {"rate", "learning rate", 418}};
    fprintf(c->out, "<text class=\"title\" x=\"%d\" y=\"30\">", LEFT);
    put_text(c->out, title);
    fputs("</text>\n", c->out);
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        if (i == 2 && c->best == c->n) continue;
        fprintf(c->out, "<path class=\"%s\" d=\"M%d 54h24\"/><text x=\"%d\" y=\"58\">%s</text>\n",
                items[i].class, LEFT + items[i].x, LEFT + items[i].x + 31, items[i].text);
    }
}

static void draw_all(const chart *c, const char *title) {
    fprintf(c->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_text(c->out, title);
    fprintf(c->out,
            "</title>\n<style>%s</style>\n<clipPath id=\"plot\"><path d=\"M%d %dh%dv%dh%dz\"/>"
            "</clipPath>\n<path class=\"page\" d=\"M0 0h%dv%dH0z\"/>\n",
            style, LEFT, TOP - 4, PLOT_W, PLOT_H + 4, -PLOT_W, WIDTH, HEIGHT);
    draw_legend(c, title);
    draw_axes(c);
    fputs("<g clip-path=\"url(#plot)\">\n", c->out);
    draw_raw(c);
    draw_lines(c);
    draw_held(c);
    fputs("</g>\n", c->out);
    draw_best(c);
    fputs("</svg>\n", c->out);
}

static ink_status write_chart(chart *c, const char *svg, const char *title, const inki_mem *mem,
                              ink_error *error) {
    char *text = NULL;
    size_t bytes = 0;
    inki_out out = {.fd = -1};
    c->out = open_memstream(&text, &bytes);
    if (c->out == NULL) return inki_fail_nomem(error, 0);
    draw_all(c, title);
    const bool failed = ferror(c->out) != 0;
    ink_status status = fclose(c->out) != 0 || failed ? inki_fail_nomem(error, bytes) : INK_OK;
    if (status == INK_OK) status = inki_out_open(&out, svg, mem, error);
    if (status == INK_OK) {
        status = inki_out_write(&out, text, bytes, error);
        if (status == INK_OK)
            status = inki_out_commit(&out, error);
        else
            inki_out_discard(&out);
    }
    free(text);
    return status;
}

ink_status cli_train_chart(const char *csv, const char *svg, const char *title, const inki_mem *mem,
                           ink_error *error) {
    chart c = {0};
    inki_file file = {0};
    ink_status status = inki_os_open_path(&file, csv, true, mem, error);
    if (status != INK_OK) return status;
    char *text = malloc(file.bytes + 1);
    if (text != NULL) {
        memcpy(text, file.data, file.bytes);
        text[file.bytes] = 0;
    }
    if (text == NULL || read_rows(&c, text) != 0)
        status = inki_fail_nomem(error, file.bytes);
    else if (c.n == 0)
        status = inki_fail(error, INK_E_FORMAT, csv, 0, "has no row that can be drawn");
    if (status == INK_OK && c.n > 0) {
        smooth(&c);
        measure(&c);
        status = write_chart(&c, svg, title, mem, error);
    }
    inki_os_close(&file);
    free(text);
    free(c.rows);
    free(c.smooth);
    return status;
}
