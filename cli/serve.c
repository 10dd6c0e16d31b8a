// SPDX-License-Identifier: MIT
// inkling serve: OpenAI's interface, typing and the demo page over HTTP.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/load.h"
#include "cli/out.h"
#include "cli/report.h"
#include "server/server.h"

enum { MAX_KEYS = 1024, MAX_KEY_FILE = 1 << 20, MB = 1000000 };

static struct {
    cli_list models, ids, keys, origins;
    const char *address, *key_file;
    cli_uint port, threads, context, parallel, queue, typing, max_body, connections, prefix_cache;
    cli_uint header_ms, body_ms, drain_ms;
    cli_choice kv_type;
    bool verbose;
} set;

static const cli_option options[] = {
    {.name = "model",
     .letter = 'm',
     .kind = CLI_LIST,
     .target = &set.models,
     .value = "MODEL",
     .help = "a GGUF file, or builtin:NAME; may be given several times, the first is what a "
             "request gets that names none; the built-in model (builtin:story) is always there"},
    {.name = "id",
     .kind = CLI_LIST,
     .target = &set.ids,
     .value = "NAME",
     .help = "how clients call the model; the first one names the first -m, and so on; without "
             "it the file's name without .gguf"},
    {.name = "port",
     .kind = CLI_UINT,
     .target = &set.port,
     .value = "N",
     .high = 65535,
     .show_default = true,
     .help = "port to listen on; 0: any that is free"},
    {.name = "address",
     .kind = CLI_TEXT,
     .target = &set.address,
     .value = "ADDRESS",
     .help = "address to listen on; without it 127.0.0.1, which only this machine reaches; "
             "0.0.0.0 or :: is all of them"},
    {.name = "api-key",
     .kind = CLI_LIST,
     .target = &set.keys,
     .value = "KEY",
     .help = "requests need \"Authorization: Bearer KEY\"; may be given several times. Others on "
             "this machine may see it in the list of processes"},
    {.name = "api-key-file",
     .kind = CLI_TEXT,
     .target = &set.key_file,
     .value = "FILE",
     .help = "the same, one key a line"},
    {.name = "origin",
     .kind = CLI_LIST,
     .target = &set.origins,
     .value = "ORIGIN",
     .help = "pages from there, such as https://example.org, may call; may be given several "
             "times. Without it only this server's own page"},
    CLI_OPTION_THREADS(&set.threads),
    {.name = "context",
     .kind = CLI_UINT,
     .target = &set.context,
     .value = "N",
     .low = 1,
     .high = 1 << 20,
     .help = "positions of each request's context; without it, and where a model has less, as many "
             "as the model has"},
    CLI_OPTION_KV_TYPE(&set.kv_type),
    {.name = "prefix-cache",
     .kind = CLI_UINT,
     .target = &set.prefix_cache,
     .value = "MB",
     .high = 1 << 20,
     .show_default = true,
     .help =
         "most memory of a model for beginnings that its requests share, such as a system text: "
         "they are read once; 0: none"},
    {.name = "parallel",
     .kind = CLI_UINT,
     .target = &set.parallel,
     .value = "N",
     .low = 1,
     .high = 64,
     .show_default = true,
     .help = "requests of a model that are worked on together; each has a context of its own"},
    {.name = "queue",
     .kind = CLI_UINT,
     .target = &set.queue,
     .value = "N",
     .high = 1 << 20,
     .show_default = true,
     .help = "requests of a model that may wait; more get 429"},
    {.name = "typing-sessions",
     .kind = CLI_UINT,
     .target = &set.typing,
     .value = "N",
     .high = 4096,
     .show_default = true,
     .help = "typing sessions of a model at a time"},
    {.name = "max-body",
     .kind = CLI_UINT,
     .target = &set.max_body,
     .value = "BYTES",
     .low = 1,
     .high = 1 << 30,
     .show_default = true,
     .help = "longest body of a request; longer ones get 413"},
    {.name = "connections",
     .kind = CLI_UINT,
     .target = &set.connections,
     .value = "N",
     .low = 1,
     .high = 1 << 20,
     .show_default = true,
     .help = "open connections; where there are more, the one that idles longest gives way"},
    {.name = "header-ms",
     .kind = CLI_UINT,
     .target = &set.header_ms,
     .value = "MS",
     .low = 1,
     .high = UINT32_MAX,
     .show_default = true,
     .help = "time for a connection to bring the head of a request, the first or the next"},
    {.name = "body-ms",
     .kind = CLI_UINT,
     .target = &set.body_ms,
     .value = "MS",
     .low = 1,
     .high = UINT32_MAX,
     .show_default = true,
     .help = "and then its body"},
    {.name = "drain-ms",
     .kind = CLI_UINT,
     .target = &set.drain_ms,
     .value = "MS",
     .high = UINT32_MAX,
     .show_default = true,
     .help = "time that is left to running requests when the program is asked to end"},
    {.name = "verbose",
     .letter = 'v',
     .kind = CLI_FLAG,
     .target = &set.verbose,
     .help = "a line on standard error for each answer: method, path, status, time, id"},
};

static void defaults(void) {
    srv_options o;
    srv_options_init(&o);
    memset(&set, 0, sizeof set);
    set.address = o.address;
    set.port.value = o.port;
    set.kv_type.value = o.kv_type;
    set.prefix_cache.value = o.prefix_cache_bytes / MB;
    set.parallel.value = o.n_parallel;
    set.queue.value = o.n_queue;
    set.typing.value = o.n_typing;
    set.max_body.value = o.max_body_bytes;
    set.connections.value = o.n_connections;
    set.header_ms.value = o.header_ms;
    set.body_ms.value = o.body_ms;
    set.drain_ms.value = o.drain_ms;
}

// --- what is asked for ---------------------------------------------------------------------------

typedef struct wanted {
    srv_options options;
    srv_model_option *models;
    const char **keys; // those of the file point into it
    cli_bytes key_file;
} wanted;

static int choose_models(wanted *w) {
    if (set.ids.n > set.models.n && set.ids.n > 0)
        return cli_fail(CLI_USAGE,
                        "serve: %zu --id for %zu -m; each names one (see inkling serve --help)",
                        set.ids.n, set.models.n);
    w->models = calloc(set.models.n + 1, sizeof *w->models);
    if (w->models == NULL) return cli_fail_memory();
    for (size_t i = 0; i < set.models.n; i++) {
        const ink_source source = cli_source(set.models.items[i]);
        w->models[i].source = set.models.items[i];
        if (source.kind == INK_SOURCE_MEMORY) {
            w->models[i].data = source.data;
            w->models[i].bytes = (size_t)source.bytes;
        }
        if (i < set.ids.n) w->models[i].id = set.ids.items[i];
    }
    w->options.models = w->models;
    w->options.n_models = set.models.n;
    return CLI_OK;
}

static bool only_ours(const char *path) {
    struct stat file;
    return stat(path, &file) != 0 || !S_ISREG(file.st_mode) ||
           (file.st_mode & (S_IRWXG | S_IRWXO)) == 0;
}

static int read_key_file(wanted *w, size_t *n) {
    if (set.key_file == NULL) return CLI_OK;
    const int code = cli_read_file(set.key_file, MAX_KEY_FILE, "a list of keys", &w->key_file);
    if (code != CLI_OK) return code;
    if (!only_ours(set.key_file))
        cli_note("inkling: others on this machine may read %s (chmod 600 keeps it to you)",
                 set.key_file);
    const size_t before = *n;
    char *rest = w->key_file.data;
    for (char *line; (line = strtok_r(rest, "\r\n", &rest)) != NULL;) {
        line += strspn(line, " \t");
        size_t end = strlen(line);
        while (end > 0 && (line[end - 1] == ' ' || line[end - 1] == '\t')) line[--end] = 0;
        if (end == 0) continue;
        if (*n == MAX_KEYS)
            return cli_fail(CLI_USAGE, "%s: more than %d keys", set.key_file, MAX_KEYS);
        w->keys[(*n)++] = line;
    }
    return *n > before ? CLI_OK
                       : cli_fail(CLI_USAGE, "%s: expected a key a line, found none", set.key_file);
}

// A key stands in a header: it cannot hold what ends one.
static int choose_keys(wanted *w) {
    size_t n = set.keys.n;
    if (n > MAX_KEYS) return cli_fail(CLI_USAGE, "serve: more than %d --api-key", MAX_KEYS);
    w->keys = calloc(MAX_KEYS, sizeof *w->keys);
    if (w->keys == NULL) return cli_fail_memory();
    for (size_t i = 0; i < n; i++) w->keys[i] = set.keys.items[i];
    const int code = read_key_file(w, &n);
    if (code != CLI_OK) return code;
    for (size_t i = 0; i < n; i++)
        for (const char *c = w->keys[i]; c == w->keys[i] || *c != 0; c++)
            if (*c <= ' ' || *c == 0x7f)
                return cli_fail(CLI_USAGE, "serve: an API key is empty, or has blanks or "
                                           "characters that are not ASCII "
                                           "(see inkling serve --help)");
    w->options.keys = w->keys;
    w->options.n_keys = n;
    return CLI_OK;
}

static void on_log(void *user, const char *line) {
    (void)user;
    cli_note("inkling: %s", line);
}

static int choose(wanted *w) {
    srv_options *o = &w->options;
    srv_options_init(o);
    o->address = set.address;
    o->port = (uint16_t)set.port.value;
    o->origins = set.origins.items;
    o->n_origins = set.origins.n;
    o->n_threads = (uint32_t)set.threads.value;
    o->n_ctx = (uint32_t)set.context.value;
    o->kv_type = set.kv_type.value;
    o->prefix_cache_bytes = set.prefix_cache.value * MB;
    o->n_parallel = (uint32_t)set.parallel.value;
    o->n_queue = (uint32_t)set.queue.value;
    o->n_typing = (uint32_t)set.typing.value;
    o->max_body_bytes = (size_t)set.max_body.value;
    o->n_connections = (uint32_t)set.connections.value;
    o->header_ms = (uint32_t)set.header_ms.value;
    o->body_ms = (uint32_t)set.body_ms.value;
    o->drain_ms = (uint32_t)set.drain_ms.value;
    o->log = on_log;
    o->verbose = set.verbose;
    const int code = choose_models(w);
    return code != CLI_OK ? code : choose_keys(w);
}

static int check_model(const char *name) {
    if (cli_source_check(name) != CLI_OK) return CLI_FILE;
    const ink_source source = cli_source(name);
    ink_error error = {0};
    ink_memory memory = {.size = sizeof memory};
    ink_session_options widest;
    ink_session_options_init(&widest, sizeof widest);
    widest.kv_type = INK_KV_F32;
    const ink_status status = ink_measure(&source, &widest, &memory, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    const uint64_t page = memory.kv_bytes / ((memory.n_ctx + 63) / 64);
    if (set.prefix_cache.value > 0 && set.prefix_cache.value * MB < page)
        cli_note("inkling: --prefix-cache %llu keeps nothing: a page of this model takes %llu MB",
                 (unsigned long long)set.prefix_cache.value, (unsigned long long)(page / MB + 1));
    return CLI_OK;
}

// The server opens its models while it listens already; a file that is none is told before.
static int check_models(const wanted *w) {
    if (w->options.n_models == 0) return check_model(NULL);
    int code = CLI_OK;
    for (size_t i = 0; i < w->options.n_models && code == CLI_OK; i++)
        code = check_model(w->models[i].source);
    return code;
}

// --- running -------------------------------------------------------------------------------------

static bool is_loopback(const char *address) {
    struct in_addr four;
    if (inet_pton(AF_INET, address, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    return strcmp(address, "::1") == 0;
}

// Each connection is an open file.
static void raise_file_limit(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= files.rlim_max) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void greet(const srv_app *app, const wanted *w) {
    const char *address = w->options.address;
    const bool six = strchr(address, ':') != NULL;
    for (size_t i = 0; i < w->options.n_models; i++)
        cli_out("model %s%s%s\n", w->models[i].source, w->models[i].id != NULL ? " as " : "",
                w->models[i].id != NULL ? w->models[i].id : "");
    if (w->options.n_models == 0) cli_out("model builtin:story\n");
    cli_out("listening on http://%s%s%s:%u\n", six ? "[" : "", address, six ? "]" : "",
            (unsigned)srv_port(app));
    cli_out_flush();
    if (w->options.n_keys == 0 && !is_loopback(address))
        cli_note("inkling: everybody who reaches %s may use this server (--api-key asks for a key)",
                 address);
}

typedef struct stopper {
    srv_app *app;
    atomic_bool done;
} stopper;

static void *stop(void *user) {
    stopper *s = user;
    srv_stop(s->app);
    atomic_store(&s->done, true);
    return NULL;
}

// Running requests have their time; another signal means now.
static void drain(srv_app *app, const sigset_t *signals) {
    stopper s = {.app = app};
    const struct timespec tick = {.tv_nsec = 20 * 1000 * 1000};
    pthread_t thread;
    if (pthread_create(&thread, NULL, stop, &s) != 0) {
        srv_stop(app);
        return;
    }
    while (!atomic_load(&s.done))
        if (sigtimedwait(signals, NULL, &tick) > 0) srv_hurry(app);
    pthread_join(thread, NULL);
}

static int run(char **args, size_t n_args) {
    wanted w = {0};
    srv_app *app = NULL;
    ink_error error = {0};
    sigset_t signals, before;
    (void)args;
    (void)n_args;
    int code = choose(&w);
    if (code == CLI_OK) code = check_models(&w);
    if (code == CLI_OK) {
        raise_file_limit();
        // Waited for below; the server's threads begin with them blocked.
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &signals, &before);
        const ink_status status = srv_start(&app, &w.options, &error);
        if (status != INK_OK) code = cli_fail_ink(status, &error);
    }
    if (app != NULL) {
        int number;
        greet(app, &w);
        while (sigwait(&signals, &number) != 0)
            ;
        drain(app, &signals);
        srv_free(app);
    }
    free(w.models);
    free(w.keys);
    free(w.key_file.data);
    return code;
}

const cli_command cli_serve_command = {
    .name = "serve",
    .synopsis = "[-m MODEL]... [--port N] [options]",
    .summary = "Serves OpenAI's interface, typing and a page to try them, over HTTP",
    .details =
        "Open the address that it prints in a browser, or give clients of OpenAI's interface that "
        "address\n"
        "followed by /v1. docs/SERVER.md has all calls. For use from other machines put a reverse "
        "proxy with\n"
        "TLS in front, and give keys.\n"
        "SIGTERM and Ctrl-C let running requests end (--drain-ms); a second one does not. Exit "
        "code 0.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .min_args = 0,
    .max_args = 0,
    .defaults = defaults,
    .run = run,
};
