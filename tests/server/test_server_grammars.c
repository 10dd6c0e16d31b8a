// SPDX-License-Identifier: MIT
// Label: threads
// Compiled grammars are kept and shared: by who comes later, by many at once, and while the server
// ends.
#include "completion_scene.h"

#include "server/app.h"
#include "server/grammars.h"
#include "server/http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define COMPLETIONS "/v1/completions"

static srv_grammars_info cache_now(void) {
    return srv_grammars_get_info(scene_app->models[0].grammars);
}

// A request gives its grammar back a moment behind its answer.
static void wait_until_unused(void) {
    while (cache_now().held_bytes != cache_now().kept_bytes) sched_yield();
}

// --- the cache -----------------------------------------------------------------------------------

static bool next_page(void *user, unsigned client, unsigned index, load_request *out) {
    (void)user;
    (void)client;
    *out = (load_request){.method = "GET", .path = "/metrics", .fresh = true};
    return index == 0;
}

static void page_done(void *user, unsigned client, unsigned index, const load_answer *answer) {
    (void)client;
    (void)index;
    assert_int_equal(answer->status, 200);
    *(char **)user = strdup(answer->body);
}

// Of the model, as GET /metrics tells it.
static unsigned long long figure(const char *name) {
    char line[128], *page = NULL;
    const load_plan plan = {.address = "127.0.0.1",
                            .port = srv_port(scene_app),
                            .n_clients = 1,
                            .next = next_page,
                            .done = page_done,
                            .user = &page};
    assert_true(load_run(&plan));
    snprintf(line, sizeof line, "\n%s{model=\"story\"} ", name);
    const char *found = strstr(page, line);
    if (found == NULL) fail_msg("no %s", name);
    const unsigned long long value = strtoull(found + strlen(line), NULL, 10);
    free(page);
    return value;
}

static void ask_number(int i) {
    char body[256], text[16];
    snprintf(text, sizeof text, "n%d", i);
    snprintf(body, sizeof body, "{\"prompt\":\"x\",\"grammar\":\"root ::= \\\"%s\\\"\"}", text);
    scene_answer answer = good(COMPLETIONS, body);
    assert_string_equal(text_at(answer.json, "choices[0].text"), text);
    forget(&answer);
}

static void test_cache(void **state) {
    (void)state;
    const unsigned long long compiled = figure("inkling_grammars_compiled_total"),
                             hits = figure("inkling_grammar_cache_hits_total");
    for (int i = 0; i < 5; i++) ask_number(1000);
    assert_int_equal(figure("inkling_grammars_compiled_total"), compiled + 1);
    assert_int_equal(figure("inkling_grammar_cache_hits_total"), hits + 4);
    // One that is asked for now and then stays, whatever else comes; the other one has to go.
    for (int i = 0; i < SRV_KEPT_RULES; i++) {
        ask_number(i);
        if (i % 8 == 0) ask_number(1000);
    }
    wait_until_unused();
    assert_int_equal(cache_now().n_kept, SRV_KEPT_RULES);
    assert_int_equal(figure("inkling_grammar_cache_bytes"), cache_now().kept_bytes);
    const srv_grammars_info before = cache_now();
    ask_number(1000);
    assert_int_equal(cache_now().n_compiled, before.n_compiled);
    ask_number(0);
    assert_int_equal(cache_now().n_compiled, before.n_compiled + 1);
    // The same text is another grammar where it is of another kind.
    scene_answer answer = post(COMPLETIONS, "{\"prompt\":\"x\",\"grammar\":\"{}\"}");
    assert_int_equal(answer.status, 400);
    forget(&answer);
    answer = good(COMPLETIONS, "{\"prompt\":\"x\",\"json_schema\":{}}");
    forget(&answer);
    answer = post(COMPLETIONS, "{\"prompt\":\"x\",\"grammar\":\"{}\"}");
    assert_int_equal(answer.status, 400);
    forget(&answer);
    wait_until_unused();
}

// --- many at once --------------------------------------------------------------------------------

enum { N_CLIENTS = 50, N_EACH = 2 };
typedef struct crowd {
    char bodies[N_CLIENTS][N_EACH][256];
    unsigned n_good;
} crowd;

static bool next_of_crowd(void *user, unsigned client, unsigned index, load_request *out) {
    crowd *c = user;
    if (index == N_EACH) return false;
    char *body = c->bodies[client][index];
    // Every other one has a schema that is like its neighbour's.
    snprintf(body, sizeof c->bodies[0][0],
             "{\"prompt\":\"x\",\"max_tokens\":30,\"stream\":false,\"json_schema\":{\"type\":"
             "\"array\",\"prefixItems\":[{\"const\":%u}],\"items\":{\"enum\":[%u,\"b\"]},"
             "\"minItems\":3,\"maxItems\":3}}",
             client / 2, index);
    *out =
        (load_request){.method = "POST", .path = COMPLETIONS, .body = body, .bytes = strlen(body)};
    return true;
}

static void crowd_done(void *user, unsigned client, unsigned index, const load_answer *answer) {
    crowd *c = user;
    if (answer->status != 200) fail_msg("client %u: %u %s", client, answer->status, answer->body);
    json_t *json = json_loadb(answer->body, answer->bytes, 0, NULL);
    json_t *list = json_loads(text_at(json, "choices[0].text"), 0, NULL);
    assert_int_equal(json_array_size(list), 3);
    assert_int_equal(number_at(list, "[0]"), client / 2);
    for (int i = 1; i < 3; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        assert_true(json_is_string(item) ? strcmp(json_string_value(item), "b") == 0
                                         : json_integer_value(item) == index);
    }
    json_decref(list);
    json_decref(json);
    c->n_good++;
}

static void test_crowd(void **state) {
    (void)state;
    static crowd c;
    const load_plan plan = {.address = "127.0.0.1",
                            .port = srv_port(scene_app),
                            .n_clients = N_CLIENTS,
                            .next = next_of_crowd,
                            .done = crowd_done,
                            .user = &c};
    assert_true(load_run(&plan));
    assert_int_equal(c.n_good, N_CLIENTS * N_EACH);
    wait_until_unused();
}

// A schema that takes long to read, and is of its own.
static char *write_slow(int i, size_t *bytes) {
    const size_t cap = 70000;
    char *text = malloc(cap);
    size_t n = (size_t)snprintf(text, cap, "{\"prompt\":\"x\",\"json_schema\":{\"properties\":{");
    for (int k = 0; k < 4000; k++)
        n += (size_t)snprintf(text + n, cap - n, "%s\"p%d_%d\":{}", k > 0 ? "," : "", i, k);
    n += (size_t)snprintf(text + n, cap - n, "}}}");
    *bytes = n;
    return text;
}

// Clients that go as soon as they have asked: their grammars are not waited for, nothing is left.
static void test_leaving(void **state) {
    (void)state;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(srv_port(scene_app))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 24; i++) {
        char head[256];
        size_t n = 0;
        char *body = write_slow(i, &n);
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
        snprintf(head, sizeof head,
                 "POST " COMPLETIONS " HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                 "application/json\r\nContent-Length: %zu\r\n\r\n",
                 n);
        assert_int_equal(send(fd, head, strlen(head), MSG_NOSIGNAL), strlen(head));
        for (size_t sent = 0; sent < n;) {
            const ssize_t more = send(fd, body + sent, n - sent, MSG_NOSIGNAL);
            assert_true(more > 0);
            sent += (size_t)more;
        }
        close(fd);
        free(body);
        if (i % 8 == 0) ask_number(i);
    }
    while (srv_http_n_connections(scene_app->http) > 0) sched_yield();
    ask_number(24);
    wait_until_unused();
}

typedef struct asking {
    srv_rules_ask ask; // the first field
    char text[64];
    atomic_uint *n_told;
    atomic_uint times;
    srv_rules *rules;
    unsigned status;
} asking;

static void told(srv_rules_ask *ask, srv_rules *rules, const srv_failure *why) {
    asking *a = (asking *)ask;
    a->rules = rules;
    a->status = why->status;
    atomic_fetch_add(&a->times, 1);
    atomic_fetch_add(a->n_told, 1);
}

static bool wanted(srv_rules_ask *ask) { return ((asking *)ask)->text[0] != '#'; }

// More than may wait, some that nobody waits for, and the end while they wait: each is told once.
static void test_end_while_they_wait(void **state) {
    (void)state;
    enum { N = 3 * SRV_WAITING_RULES };
    static asking all[N];
    for (int round = 0; round < 3; round++) {
        srv_grammars *g = NULL;
        ink_error error;
        atomic_uint n_told = 0;
        unsigned n_by_status[600] = {0};
        memset(all, 0, sizeof all);
        assert_int_equal(srv_grammars_new(&g, &scene_app->models[0], &error), INK_OK);
        for (int i = 0; i < N; i++) {
            asking *a = &all[i];
            snprintf(a->text, sizeof a->text, "%sroot ::= \"%d\"", i % 16 == 3 ? "#\n" : "",
                     i % 100);
            a->n_told = &n_told;
            a->ask = (srv_rules_ask){.kind = INK_GRAMMAR_GBNF,
                                     .text = a->text,
                                     .bytes = strlen(a->text),
                                     .told = told,
                                     .wanted = wanted};
            if (round == 1 && i == N / 2) srv_grammars_close(g);
            srv_grammars_ask(g, &a->ask);
        }
        while (round == 2 && atomic_load(&n_told) < N) sched_yield();
        srv_grammars_close(g);
        assert_int_equal(atomic_load(&n_told), N);
        for (int i = 0; i < N; i++) {
            assert_int_equal(atomic_load(&all[i].times), 1);
            n_by_status[all[i].status]++;
            assert_true((all[i].rules != NULL) == (all[i].status == 0));
            srv_rules_unref(all[i].rules);
        }
        assert_int_equal(n_by_status[0] + n_by_status[429] + n_by_status[503], N);
        if (round == 1) assert_true(n_by_status[503] >= N / 2);
        assert_int_equal(srv_grammars_get_info(g).held_bytes, srv_grammars_get_info(g).kept_bytes);
        srv_grammars_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_end_while_they_wait),
    };
    return cmocka_run_group_tests(tests, open_scene, close_scene);
}
