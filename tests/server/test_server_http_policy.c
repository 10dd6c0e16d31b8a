// SPDX-License-Identifier: MIT
// Label: threads
// Who may ask: keys, pages of other origins, names that point at this machine.
#include "http_scene.h"

static const char *const keys[] = {"alpha", "beta-0123456789"};
static const char *const origins[] = {"https://example.org", "http://localhost:3000"};

static srv_options with_all(void) {
    srv_options o = scene_options();
    o.keys = keys;
    o.n_keys = 2;
    o.origins = origins;
    o.n_origins = 2;
    return o;
}

static reply ask_with(const char *start, const char *headers) {
    char request[2048];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\n%s\r\n", start, headers);
    return ask(request);
}

static void test_keys(void **state) {
    static const struct {
        const char *header;
        bool ok;
    } cases[] = {{"Authorization: Bearer alpha\r\n", true},
                 {"authorization: bearer   beta-0123456789\r\n", true},
                 {"", false},
                 {"Authorization: Bearer\r\n", false},
                 {"Authorization: Bearer \r\n", false},
                 {"Authorization: Bearer alph\r\n", false},
                 {"Authorization: Bearer alphaa\r\n", false},
                 {"Authorization: Bearer alphaalpha\r\n", false},
                 {"Authorization: Bearer Alpha\r\n", false},
                 {"Authorization: Bearer alpha,beta-0123456789\r\n", false},
                 {"Authorization: alpha\r\n", false},
                 {"Authorization: Basic alpha\r\n", false},
                 {"Authorization: Bearer beta-012345678\r\n", false}};
    const srv_options o = with_all();
    char value[256];
    (void)state;
    scene_begin(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char headers[256];
        snprintf(headers, sizeof headers, HOST "Content-Length: 0\r\n%s", cases[i].header);
        const reply r = ask_with("POST /echo", headers);
        assert_int_equal(r.status, cases[i].ok ? 200 : 401);
        assert_int_equal(reply_header(&r, "WWW-Authenticate", value), !cases[i].ok);
        assert_int_equal(strstr(r.body, "\"invalid_api_key\"") != NULL, !cases[i].ok);
        // Nobody reads there what the key would have been.
        assert_null(strstr(r.body, "alpha"));
        assert_null(strstr(r.body, "beta"));
    }
    // Open without a key: the page, and whether we live.
    assert_int_equal(ask_with("GET /open", HOST).status, 200);
    // Without one, what there is and what not is still told apart: it is no secret.
    assert_int_equal(ask_with("GET /nowhere", HOST).status, 404);
    scene_end();
}

static void test_hosts(void **state) {
    static const struct {
        const char *host;
        int status;
    } cases[] = {
        {"localhost", 200},      {"LOCALHOST:8080", 200},   {"127.0.0.1:1", 200},
        {"127.8.9.1", 200},      {"[::1]:8080", 200},       {"[::1]", 200},
        {"example.org", 200},    {"example.org:443", 200},  {"Example.ORG", 200},
        {"evil.example", 403},   {"evil.example:80", 403},  {"localhost.evil.example", 403},
        {"127.0.0.1.evil", 403}, {"128.0.0.1", 403},        {"127.0.0.1x", 403},
        {"[::2]", 403},          {"example.org.evil", 403}, {"", 403},
        {"0x7f.0.0.1", 403},     {"2130706433", 403}};
    srv_options o = with_all();
    char header[256];
    (void)state;
    scene_begin(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(header, sizeof header, "Host: %s\r\n", cases[i].host);
        assert_int_equal(ask_with("GET /open", header).status, cases[i].status);
    }
    scene_end();
    // Where others reach us anyway, any name does.
    o.address = "0.0.0.0";
    scene_begin(&o);
    assert_int_equal(ask_with("GET /open", "Host: evil.example\r\n").status, 200);
    scene_end();
}

static void test_origins(void **state) {
    static const struct {
        const char *host, *origin;
        int status;
        bool listed;
    } cases[] = {{"localhost:8080", "http://localhost:8080", 200, false},
                 {"localhost:8080", "http://localhost:8081", 403, false},
                 {"localhost:8080", "http://127.0.0.1:8080", 403, false},
                 {"127.0.0.1:8080", "https://127.0.0.1:8080", 200, false},
                 {"localhost:8080", "https://example.org", 200, true},
                 {"localhost:8080", "http://localhost:3000", 200, true},
                 {"localhost:8080", "http://example.org", 403, false},
                 {"localhost:8080", "https://example.org.evil", 403, false},
                 {"localhost:8080", "https://evil.example", 403, false},
                 {"localhost:8080", "null", 403, false},
                 {"localhost:8080", "", 403, false},
                 {"localhost:8080", "localhost:8080", 403, false}};
    const srv_options o = with_all();
    char headers[256], value[256];
    (void)state;
    scene_begin(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(headers, sizeof headers, "Host: %s\r\nOrigin: %s\r\n", cases[i].host,
                 cases[i].origin);
        const reply r = ask_with("GET /open", headers);
        assert_int_equal(r.status, cases[i].status);
        assert_int_equal(reply_header(&r, "Access-Control-Allow-Origin", value), cases[i].listed);
        if (cases[i].listed) {
            assert_string_equal(value, cases[i].origin);
            assert_true(reply_header(&r, "Access-Control-Expose-Headers", value));
        }
        assert_true(reply_header(&r, "Vary", value));
        assert_string_equal(value, "Origin");
    }
    // An error is readable for the page that may call, also one for want of a key.
    snprintf(headers, sizeof headers, HOST "Origin: https://example.org\r\nContent-Length: 0\r\n");
    const reply r = ask_with("POST /echo", headers);
    assert_int_equal(r.status, 401);
    assert_true(reply_header(&r, "Access-Control-Allow-Origin", value));
    assert_int_equal(ask_with("GET /open", HOST "Origin: https://example.org\r\n"
                                                "Origin: https://example.org\r\n")
                         .status,
                     400);
    scene_end();
}

static void test_preflight(void **state) {
    const srv_options o = with_all();
    char value[256];
    (void)state;
    scene_begin(&o);
#define ASKS "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: "
    reply r = ask_with("OPTIONS /echo", HOST "Origin: https://example.org\r\n" ASKS
                                             "authorization,x-stainless-os\r\n");
    assert_int_equal(r.status, 204);
    assert_true(reply_header(&r, "Access-Control-Allow-Origin", value));
    assert_string_equal(value, "https://example.org");
    assert_true(reply_header(&r, "Access-Control-Allow-Headers", value));
    assert_string_equal(value, "authorization,x-stainless-os");
    assert_true(reply_header(&r, "Access-Control-Allow-Methods", value));
    assert_non_null(strstr(value, "POST"));
    assert_true(reply_header(&r, "Access-Control-Max-Age", value));
    // What is no list of names is not sent back.
    r = ask_with("OPTIONS /echo", HOST "Origin: https://example.org\r\n" ASKS "a: b\r\n");
    assert_true(reply_header(&r, "Access-Control-Allow-Headers", value));
    assert_string_equal(value, "authorization, content-type");
    r = ask_with("OPTIONS /echo", HOST "Origin: https://evil.example\r\n" ASKS "a\r\n");
    assert_int_equal(r.status, 403);
    assert_false(reply_header(&r, "Access-Control-Allow-Origin", value));
    scene_end();
}

static void test_options_are_checked(void **state) {
    static const char *const bad_origins[] = {
        "example.org", "https://", "https://example.org/", "https://a b", "*", "null", "https://*"};
    static const char *const empty = "";
    srv_app *app = NULL;
    ink_error error = {0};
    (void)state;
    srv_options o = scene_options();
    for (size_t i = 0; i < sizeof bad_origins / sizeof *bad_origins; i++) {
        o.origins = &bad_origins[i];
        o.n_origins = 1;
        assert_int_equal(srv_start(&app, &o, &error), INK_E_ARG);
        assert_non_null(strstr(error.message, bad_origins[i]));
    }
    o = scene_options();
    o.keys = &empty;
    o.n_keys = 1;
    assert_int_equal(srv_start(&app, &o, &error), INK_E_ARG);
    static const char *const bad_addresses[] = {"", "localhost", "127.0.0.1:80", "1.2.3", "::x"};
    for (size_t i = 0; i < sizeof bad_addresses / sizeof *bad_addresses; i++) {
        o = scene_options();
        o.address = bad_addresses[i];
        assert_int_equal(srv_start(&app, &o, &error), INK_E_ARG);
    }
    o = scene_options();
    o.n_parallel = 65;
    assert_int_equal(srv_start(&app, &o, NULL), INK_E_ARG);
    assert_null(app);
}

static void test_port_in_use(void **state) {
    srv_options o = scene_options();
    srv_app *app = NULL;
    ink_error error = {0};
    (void)state;
    scene_begin(&o);
    o.port = srv_http_port(scene_app.http);
    assert_int_equal(srv_start(&app, &o, &error), INK_E_SYSTEM);
    assert_non_null(strstr(error.message, "in use"));
    assert_null(app);
    scene_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),     cmocka_unit_test(test_preflight),
        cmocka_unit_test(test_port_in_use), cmocka_unit_test(test_options_are_checked)};
    return cmocka_run_group_tests_name("server/http_policy", tests, NULL, NULL);
}
