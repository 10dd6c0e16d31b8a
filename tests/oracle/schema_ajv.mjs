// SPDX-License-Identifier: MIT
// Random schemas over all keywords that are read, and ajv's verdict on what was written for them.
//     schema_ajv.mjs make COUNT SEED >SCHEMAS
//     schema_ajv.mjs judge SCHEMAS WALKS      WALKS: what schema_walk printed
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

// ---- schemas ------------------------------------------------------------------------------------

let state = 1;
function random(n) { // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
}
const maybe = (percent) => random(100) < percent;
const pick = (list) => list[random(list.length)];
const several = (least, most, make) => Array.from({ length: least + random(most - least + 1) }, (_, i) => make(i));

const NAMES = ['a', 'b', 'name', 'names', 'nam', 'id', 'n', 'kind', 'tags', 'x y', 'é', 'ключ', '猫', '', 'a"b', 'back\\slash',
    'tab\tname', '😀', 'a.b', '/', 'constructor', 'length'];
const names = (n) => [...new Set(several(n, n, () => pick(NAMES)))];
const WORDS = ['red', 'green', 'blue', '', ' ', 'a"quote', 'line\nend', 'C:\\dir', 'Ünïcödé', '日本', '🦊', '\u007f', '\u0001', '</script>'];
const PATTERNS = ['^[a-z]+$', '[0-9]', '^\\d{3}-\\d{4}$', '^(foo|bar)+$', 'x|^y$', '^[^a-c]{2,5}$', '^.{0,4}$', '^\\w+\\s\\w+$',
    '^[A-Z][a-z]*( [A-Z][a-z]*)*$', '^"[^"\\\\]*"$', '^\\u00e9[\\u{1F600}-\\u{1F64F}]?$', '\\.json$', '^(?:a|b|)c$', '^a{2,}b{0,3}?$',
    '^[\\w.-]+@[\\w-]+\\.[a-z]{2,3}$', '^\\D\\S\\W$', '^\\/[^\\/]+$', '^[+\\-]?\\d+(?:\\.\\d+)?$', 'ab', '^$', '^\\t?[\\n\\r]x\\x41$',
    '^[\\]\\[^-]+$', '^[\\d-]+$', '^(a(b(c)?)?)?$'];
const FORMATS = ['date', 'time', 'date-time', 'duration', 'uuid', 'ipv4', 'ipv6', 'hostname', 'email', 'uri'];

const number = () => pick([0, 1, -1, 5, 10, 42, 100, 255, 999, 1000, -7, -100, 65535, 1e6, 123456, 0.5, -0.5, 1.25, 3.14159, 99.99, -12.5, 1e-3,
    random(2000) - 1000, (random(200000) - 100000) / 100]);
const integer = () => Math.trunc(number());
function value(depth) {
    const kinds = [() => null, () => maybe(50), number, integer, () => pick(WORDS), () => pick(WORDS)];
    if (depth > 0) kinds.push(() => several(0, 3, () => value(depth - 1)),
        // The deep equality that ajv takes looks at a member of the name "constructor".
        () => Object.fromEntries(names(3).filter((n) => n !== 'constructor').map((n) => [n, value(depth - 1)])));
    return pick(kinds)();
}

function numbers(whole) {
    const s = { type: whole ? 'integer' : 'number' };
    const make = whole && maybe(80) ? integer : number;
    let low = make(), high = make();
    if (low > high) [low, high] = [high, low];
    if (maybe(50)) s[maybe(70) ? 'minimum' : 'exclusiveMinimum'] = low;
    if (maybe(50)) s[maybe(70) ? 'maximum' : 'exclusiveMaximum'] = high + (maybe(70) ? 3 : 0);
    if (maybe(5)) s.multipleOf = 1;
    return s;
}
function string() {
    const s = { type: 'string' };
    const how = random(10);
    if (how < 4) s.pattern = pick(PATTERNS);
    else if (how < 6) s.format = pick(FORMATS);
    if (how >= 6 || maybe(10)) {
        const low = random(4);
        if (maybe(40)) s.minLength = low;
        if (maybe(60)) s.maxLength = low + pick([0, 1, 2, 8, 20, 300]);
    }
    return s;
}
function array(depth) {
    const s = { type: 'array' };
    if (maybe(15)) {
        s.items = maybe(50) ? { enum: WORDS.slice(0, 2 + random(4)) } : { type: ['string', 'null'], enum: [null, 'a', 'b', 3] };
        s.uniqueItems = true;
        if (maybe(50)) s.minItems = 1 + random(2);
        if (maybe(30)) s.maxItems = 2;
        return s;
    }
    if (maybe(30)) s.prefixItems = several(1, 3, () => schema(depth - 1));
    if (maybe(70)) s.items = maybe(10) ? false : schema(depth - 1);
    const low = random(4);
    if (maybe(40)) s.minItems = low;
    if (maybe(50)) s.maxItems = low + random(4);
    if (maybe(5)) s.uniqueItems = false;
    return s;
}
function object(depth) {
    const s = { type: 'object' };
    const all = names(random(6));
    if (maybe(90)) s.properties = Object.fromEntries(all.map((n) => [n, schema(depth - 1)]));
    if (maybe(60)) s.required = all.filter(() => maybe(50));
    if (maybe(10)) (s.required ??= []).push(pick(NAMES));
    if (s.required) s.required = [...new Set(s.required)];
    if (maybe(40)) s.additionalProperties = pick([false, true, () => schema(depth - 1)]);
    if (typeof s.additionalProperties === 'function') s.additionalProperties = s.additionalProperties();
    if (maybe(20)) s.minProperties = random(all.length + 2);
    if (maybe(20)) s.maxProperties = (s.minProperties ?? 0) + random(4);
    return s;
}
// Objects that a member tells apart.
function tagged(depth) {
    return {
        oneOf: several(2, 4, (i) => {
            const s = object(depth - 1);
            delete s.minProperties;
            delete s.maxProperties;
            s.properties = { kind: maybe(50) ? { const: `k${i}` } : { enum: [i, `k${i}`] }, ...s.properties };
            s.properties.kind = { const: `k${i}` };
            s.required = [...new Set(['kind', ...(s.required ?? [])])];
            return s;
        }),
    };
}
// Objects of which each has what no other may have.
function distinct() {
    return { type: 'object', oneOf: several(2, 3, (i) => ({ properties: { [`p${i}`]: { type: 'integer' } }, required: [`p${i}`] })) };
}
function schema(depth) {
    const annotations = maybe(10) ? { title: 'T', description: 'D', default: value(1), examples: [1], $comment: 'c', deprecated: true } : {};
    return Object.assign(shape(depth), annotations);
}
function shape(depth) {
    const plain = [() => ({ type: 'null' }), () => ({ type: 'boolean' }), () => numbers(true), () => numbers(false), string, string,
        () => ({ enum: [...new Map(several(1, 5, () => value(1)).map((v) => [JSON.stringify(v), v])).values()] }), () => ({ const: value(2) }),
        () => ({ type: [...new Set(several(1, 3, () => pick(['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'])))] }),
        () => ({ type: ['integer', 'null'], minimum: -3, maximum: 12 }), () => ({ minimum: 5, exclusiveMaximum: 6.5 }),
        () => ({ type: 'string', enum: ['a', 'bb', 'ccc', 4, null], maxLength: 2 }),
        () => ({ $ref: pick(['#/$defs/word', '#/$defs/count', '#/definitions/odd~1name%20~0']) }), () => ({})];
    if (depth <= 0) return pick(plain)();
    return pick([...plain, () => object(depth), () => object(depth), () => object(depth), () => object(depth), () => array(depth), () => array(depth),
        () => ({ anyOf: several(1, 3, () => schema(depth - 1)) }), () => tagged(depth), distinct,
        () => ({ oneOf: [numbers(true), string(), { type: 'null' }, array(depth - 1), { type: 'boolean' }].slice(random(3)) }),
        () => ({ allOf: [object(depth - 1), object(depth - 1)] }), () => ({ allOf: [numbers(false), { maximum: 50 }, { minimum: -50.5 }] }),
        () => ({ ...object(depth - 1), anyOf: [{ required: ['a'] }, { required: ['b'] }, { properties: { id: { type: 'integer' } } }] }),
        () => ({ allOf: [string(), { maxLength: 12 }] }), () => ({ $ref: pick(['#/$defs/tree', '#/$defs/list', '#/$defs/pair']) }),
        () => ({ $ref: '#/$defs/base', properties: { more: schema(depth - 1) }, required: ['more'] })])();
}
const DEFS = {
    word: { type: 'string', pattern: '^[a-z]{1,8}$' },
    count: { type: 'integer', minimum: 0, maximum: 99 },
    tree: { type: 'object', properties: { value: { type: 'integer' }, children: { type: 'array', items: { $ref: '#/$defs/tree' } } }, required: ['value'] },
    list: { anyOf: [{ type: 'null' }, { type: 'object', properties: { head: { $ref: '#/$defs/word' }, rest: { $ref: '#/$defs/list' } },
        required: ['head', 'rest'], additionalProperties: false }] },
    pair: { type: 'array', prefixItems: [{ $ref: '#/$defs/word' }, { $ref: '#/$defs/count' }], items: false, minItems: 2 },
    base: { type: 'object', properties: { id: { $ref: '#/$defs/count' } }, required: ['id'] },
};
function root() {
    const s = schema(3);
    const text = JSON.stringify(s);
    if (text.includes('#/$defs')) s.$defs = DEFS;
    if (text.includes('#/definitions')) s.definitions = { 'odd/name ~': { enum: [1, 'one'] } };
    return s;
}

// ---- the verdict --------------------------------------------------------------------------------

function judge(schemas, walks) {
    const require = createRequire(join(process.env.SCHEMA_PACKAGES, 'package.json'));
    const Ajv = require('ajv/dist/2020').default, addFormats = require('ajv-formats').default;
    const ajv = new Ajv({ strict: false, ownProperties: true });
    addFormats(ajv);
    const known = new Map(), counts = { schemas: 0, ended: 0, cut: 0, refused: {} }, refusals = [], documents = [];
    const validator = (i) => known.get(i) ?? known.set(i, ajv.compile(JSON.parse(schemas[i]))).get(i);
    const strict = new TextDecoder('utf-8', { fatal: true });
    let wrong = 0;
    const complain = (i, what, text) => {
        if (wrong++ < 20) console.log(`schema ${i}: ${what}\n  ${schemas[i]}\n  ${text}`);
    };
    const check = (i, hex) => {
        let text = hex, parsed;
        try {
            text = strict.decode(Buffer.from(hex, 'hex'));
            parsed = JSON.parse(text);
        } catch (error) {
            return complain(i, error.message, text);
        }
        if (!validator(i)(parsed)) complain(i, ajv.errorsText(validator(i).errors), text);
        if (documents.length < 4000 && text.length < 300) documents.push(parsed);
    };
    const seen = new Set();
    for (const line of walks) {
        const [number, what, first, ...rest] = line.split(' ');
        const i = Number(number);
        if (what === 'R') {
            counts.refused[first] = (counts.refused[first] ?? 0) + 1;
            refusals.push([i, first, rest.join(' ')]);
        } else if (what === 'F' || what === 'C') {
            seen.add(i);
            counts[what === 'F' ? 'ended' : 'cut']++;
            const whole = what === 'F' ? first ?? '' : rest[0];
            if (what === 'C' && !whole.startsWith(first)) complain(i, 'the whole does not begin with what was cut', first);
            check(i, whole);
        } else complain(i, 'a line that is not known', line);
    }
    counts.schemas = seen.size;
    // What "nothing satisfies" must not be satisfied by anything that was written for others.
    for (const [i, status, message] of refusals) {
        if (process.env.SCHEMA_REFUSED) console.log(`${status} ${message}\n  ${schemas[i]}`);
        // ajv forgets a required member whose name is empty, alone or among others.
        const forgotten = /"required":\[("([^"\\]|\\.)*",)*""[,\]]/.test(schemas[i]);
        if (!message.includes('nothing satisfies') || forgotten) continue;
        const found = documents.find((d) => validator(i)(d));
        if (found !== undefined) complain(i, 'it is satisfied after all', JSON.stringify(found));
    }
    console.log(`${counts.schemas} schemas: ${counts.ended} texts ended, ${counts.cut} were cut and then ended; not valid: ${wrong}.` +
        ` Refused: ${JSON.stringify(counts.refused)}`);
    return wrong === 0 && counts.ended > 0 && counts.cut > 0 ? 0 : 1;
}

const lines = (file) => readFileSync(file, 'utf8').split('\n').filter((l) => l !== '');
const [task, ...args] = process.argv.slice(2);
if (task === 'make') {
    state = Number(args[1]);
    process.stdout.write(several(Number(args[0]), Number(args[0]), () => JSON.stringify(root())).join('\n') + '\n');
} else if (task === 'judge') {
    process.exitCode = judge(lines(args[0]), lines(args[1]));
} else {
    console.error('schema_ajv.mjs make COUNT SEED | judge SCHEMAS WALKS');
    process.exitCode = 2;
}
