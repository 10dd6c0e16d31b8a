// SPDX-License-Identifier: MIT
// The page: joins the field, the typing session, Generate and what shows their figures.
import { ask, hasKey, pause, Problem } from './api.js';
import { Editor } from './editor.js';
import { Figures } from './figures.js';
import { completionBody, generate, inspect } from './generate.js';
import { report, settle, speakAgain, whenKeyGiven } from './notice.js';
import { lastWords } from './reading.js';
import { Tokens } from './tokens.js';
import { Typing } from './typing.js';
import { currentLanguage, firstLanguage, number, say, setLanguage } from './words.js';

const CARET_MS = 200;     // the caret rests before a ghost moves the text behind it
const SETTING_MS = 300;   // a slider rests before another session is begun
const SPEAK_MS = 900;     // a suggestion rests before it is read out
const INSPECT_MS = 500;   // the text rests before its tokens are looked at
const AFTER_MS = 250;     // all else waits so long for the first ghost
const HIDDEN_MS = 20000;  // a page nobody sees gives its session and connection back

const element = (id) => document.getElementById(id);
const status = element('status');
const modelChoice = element('model');

const settings = {
    get model() { return modelChoice.value; },
    get window() { return Number(element('window').value); },
    get length() { return Number(element('length').value); },
    get temperature() { return Number(element('temperature').value); },
};

setLanguage(firstLanguage());

// --- later, unless it is put off again -----------------------------------------------------------

function delayed(ms, fn) {
    let timer = 0;
    const start = (...values) => {
        clearTimeout(timer);
        timer = setTimeout(fn, ms, ...values);
    };
    start.cancel = () => clearTimeout(timer);
    return start;
}

const announce = (text) => { status.textContent = text; };
const speakGhost = delayed(SPEAK_MS, (text) => announce(say('said_suggestion', { text })));

// --- the field and its ghost ---------------------------------------------------------------------

let running = null; // {abort, group} of the Generate under way
let quiet = false;  // behind a generated text no ghost is shown, so that Another means that text
let generated = null; // the History step of the last generated text

const typing = new Typing({
    options: () => ({
        ...(settings.model ? { model: settings.model } : {}),
        window_words: settings.window, max_tokens: 16, until: 'sentence',
    }),
    onSuggestion: showSuggestion,
    onProblem: (problem) => {
        if (!problem) settle('typing');
        else report('typing', problem);
        if (problem) editor.hide();
        if (problem?.kind === 'loading') watchModels();
    },
});

const editor = new Editor({
    onChange(changed) {
        if (inserting) return;
        if (changed) stop(false); // who writes on wants to be heard
        if (!running && (changed || editor.caret >= 0)) quiet = false;
        if (changed) tokensLater();
        showState();
        if (changed) tell();
        else tellLater();
    },
    onGhost: showState,
    onAccept: accept,
    onDismiss: dismiss,
});

// The session hears of the text as it is now.
function tell() {
    tellLater.cancel();
    const sides = editor.sides;
    if (!sides || running || quiet) typing.rest();
    else typing.set(sides.before, sides.after);
}
const tellLater = delayed(CARET_MS, tell);

let wantsAnother = false;

function showSuggestion(suggestion) {
    if (running || quiet) return;
    if (!suggestion) {
        editor.hide();
        return;
    }
    editor.suggest(suggestion.text, suggestion.done);
    if (!suggestion.done) return;
    if (wantsAnother && !suggestion.text) announce(say('said_more'));
    wantsAnother = false;
    if (suggestion.n_tokens > 0) figures.suggestion(suggestion);
    if (suggestion.text) speakGhost(suggestion.text);
}

function accept(word) {
    speakGhost.cancel();
    return editor.accept(word);
}

function dismiss() {
    speakGhost.cancel();
    if (running) {
        stop();
        return true;
    }
    if (!editor.ghost) return false;
    editor.hide();
    typing.dismiss();
    return true;
}

function another() {
    const last = editor.history.last;
    if (quiet && generated && last === generated) {
        editor.undo();
        start();
        return;
    }
    if (!editor.ghost) return;
    wantsAnother = true;
    typing.another();
}

// --- Generate ------------------------------------------------------------------------------------

let inserting = false;

async function start() {
    if (running) return;
    settle('generate');
    const [from, to] = editor.selection;
    const mine = {
        abort: new AbortController(), group: `generate ${performance.now()}`, at: from, n_tokens: 0,
        text: '', pieces: [], frame: 0, // what came since the last picture
    };
    const prompt = lastWords(editor.value.slice(0, from), settings.window);
    running = mine;
    generated = null;
    editor.hide();
    typing.rest();
    inspecting?.abort();
    tokensLater.cancel();
    if (from !== to) insert(mine, from, editor.value.slice(from, to), '');
    showState();
    announce(say('said_generating'));
    tokens.show([]);
    try {
        const end = await generate({ ...settings, prompt }, {
            signal: mine.abort.signal,
            onPiece(text, pieces) {
                if (running !== mine) return;
                mine.n_tokens += pieces.length;
                mine.text += text;
                mine.pieces.push(...pieces);
                // Thousands of tokens a second may come: a picture each would leave no time for Stop.
                mine.frame ||= requestAnimationFrame(() => flush(mine));
            },
        });
        figures.answer(end);
        announce(say('said_done', { n: end.usage?.completion_tokens ?? mine.n_tokens }));
    } catch (error) {
        if (!mine.abort.signal.aborted)
            report('generate', error instanceof Problem ? error : new Problem('broken', String(error)),
                error.kind === 'refused' || error.kind === 'key' ? null : start);
    }
    if (running === mine) finish();
}

// The caret stays behind the text that comes, unless the user has put it elsewhere.
function insert(mine, at, removed, text) {
    const [from, to] = editor.selection;
    const follows = from === to && from === at;
    inserting = true;
    editor.replace(at, removed, text, {
        group: mine.group, select: follows || removed ? 'end' : 'preserve',
    });
    inserting = false;
    generated = editor.history.last;
    quiet = true;
    if (follows) editor.reveal();
}

function flush(mine) {
    cancelAnimationFrame(mine.frame);
    mine.frame = 0;
    const { text, pieces } = mine;
    mine.text = '';
    mine.pieces = [];
    tokens.append(pieces);
    if (!text) return;
    insert(mine, mine.at, '', text);
    mine.at += text.length;
}

// keep: what came but is not seen yet too. Where the text has changed under it there is no place
// for that.
function stop(keep = true) {
    if (!running) return;
    running.abort.abort();
    if (!keep) running.text = '';
    finish();
    announce(say('said_stopped'));
}

function finish() {
    flush(running);
    const hadFocus = document.activeElement === element('stop');
    running = null;
    showState();
    if (hadFocus) element('generate').focus();
    if (!generated) {
        quiet = false;
        tell();
    }
}

// --- buttons -------------------------------------------------------------------------------------

// A button that cannot be used now stays where the focus is.
function enable(id, on) {
    element(id).setAttribute('aria-disabled', String(!on));
}

function showState() {
    const ghost = editor.ghost !== '';
    for (const id of ['accept-all', 'accept-word', 'dismiss']) enable(id, ghost);
    enable('another', ghost || (quiet && !running && generated && editor.history.last === generated));
    enable('undo', Boolean(editor.history.last));
    enable('copy', editor.value !== '');
    enable('clear', editor.value !== '');
    const focused = document.activeElement === element('generate') && running;
    element('generate').hidden = Boolean(running);
    element('stop').hidden = !running;
    if (focused) element('stop').focus();
    document.body.classList.toggle('generating', Boolean(running));
    showCommand();
}

function button(id, act, keepFocus = true) {
    const it = element(id);
    // The field keeps the focus, and a phone its keyboard.
    if (keepFocus) it.addEventListener('mousedown', (event) => event.preventDefault());
    it.addEventListener('click', () => {
        if (it.getAttribute('aria-disabled') !== 'true') act();
    });
}

button('accept-all', () => accept(false));
button('accept-word', () => accept(true));
button('dismiss', dismiss);
button('another', another);
button('generate', start);
button('stop', () => stop());
button('undo', () => announce(say(editor.undo() ? 'said_undone' : 'said_nothing')));
button('copy', () => copy(editor.value));
button('clear', () => {
    stop();
    editor.replace(0, editor.value, '');
    tokens.show([]);
    announce(say('said_cleared'));
    editor.field.focus();
});
button('copy-command', () => copy(element('command').textContent), false);

async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
        announce(say('said_copied'));
    } catch {
        // Pages that come neither by TLS nor from this machine have no clipboard of that kind.
        const [from, to] = editor.selection, { value } = editor.field;
        if (text === value) editor.field.select();
        const done = text === value && document.execCommand('copy');
        editor.field.setSelectionRange(from, to);
        announce(say(done ? 'said_copied' : 'said_not_copied'));
    }
}

// --- settings ------------------------------------------------------------------------------------

const reopen = delayed(SETTING_MS, () => {
    editor.hide();
    typing.open();
    tell();
});

function showSettings() {
    const { window, length, temperature } = settings;
    const texts = {
        window: say('words', { n: window }),
        length: say('tokens_n', { n: length }),
        temperature: temperature === 0 ? say('temperature_0') : number(temperature, 2),
    };
    for (const [id, text] of Object.entries(texts)) {
        element(`${id}-value`).textContent = text;
        element(id).setAttribute('aria-valuetext', text);
    }
    showCommand();
}

function showCommand() {
    if (!element('command').closest('details').open) return;
    const before = editor.value.slice(0, editor.selection[0]);
    const body = completionBody({ ...settings, prompt: lastWords(before, settings.window) });
    const json = JSON.stringify(body).replace(/'/g, '\\u0027');
    const url = new URL('v1/completions', location.href);
    const door = hasKey() ? ' -H "Authorization: Bearer $INKLING_KEY"' : '';
    element('command').textContent =
        `curl -N ${url} -H 'Content-Type: application/json'${door} \\\n  -d '${json}'`;
}
element('command').closest('details').addEventListener('toggle', showCommand);

for (const id of ['window', 'length', 'temperature']) element(id).addEventListener('input', showSettings);
element('window').addEventListener('input', () => {
    reopen();
    tokensLater();
});
modelChoice.addEventListener('change', () => {
    settle('typing');
    settle('generate');
    reopen();
    tokensLater();
    showCommand();
});

function speak(language, keep) {
    setLanguage(language, keep);
    const it = element('language');
    it.textContent = say('switch');
    it.lang = language === 'zh' ? 'en' : 'zh-Hans';
    it.setAttribute('aria-label', say('switch_label'));
    showSettings();
    showModels();
    speakAgain();
    tokens.speakAgain();
    figures.draw();
}
element('language').addEventListener('click', () =>
    speak(currentLanguage() === 'zh' ? 'en' : 'zh', true));

// --- models --------------------------------------------------------------------------------------

let models = [];
let watching = false, again = false; // again: asked for while an answer to the key before was under way

function showModels() {
    for (const model of models) {
        let option = [...modelChoice.options].find((it) => it.value === model.id);
        if (!option) {
            option = new Option(model.id, model.id);
            modelChoice.add(option);
        }
        const state = model.inkling?.state ?? 'ready';
        const word = { loading: 'model_opening', failed: 'model_failed' }[state];
        option.textContent = word ? `${model.id} (${say(word)})` : model.id;
        option.title = model.inkling?.reason ?? '';
    }
    const chosen = models.find((model) => model.id === modelChoice.value);
    if (chosen?.inkling?.state === 'failed')
        report('model', new Problem('failed', chosen.inkling.reason || ''));
    else settle('model');
}

// Until all are open, or could not be opened.
async function watchModels() {
    again = watching;
    if (watching) return;
    watching = true;
    for (let wait = 200; ; wait = Math.min(wait * 1.5, 3000)) {
        again = false;
        try {
            models = (await ask('GET', 'v1/models')).data;
            showModels();
            showCommand();
            if (!models.some((model) => model.inkling?.state === 'loading')) break;
        } catch (error) {
            if (error.kind === 'key' && !again) break; // asked again when there is one
        }
        await pause(wait);
    }
    watching = false;
}

// --- tokens --------------------------------------------------------------------------------------

let inspecting = null;

// What would be read is shown in pieces once the text rests; a generated text shows its own.
async function look() {
    if (running || quiet || document.visibilityState !== 'visible') return;
    inspecting?.abort();
    const mine = inspecting = new AbortController();
    const sides = editor.sides;
    const text = sides ? lastWords(sides.before, settings.window) : '';
    if (!text.trim()) {
        tokens.show([]);
        return;
    }
    try {
        const pieces = await inspect({ model: settings.model, text, signal: mine.signal });
        if (mine.signal.aborted || running || quiet) return;
        tokens.show(pieces, pieces.length ? 'tokens_empty' : 'tokens_gone');
    } catch (error) {
        if (!mine.signal.aborted && error.kind === 'refused') tokens.show([], 'tokens_gone');
    }
}
const tokensLater = delayed(INSPECT_MS, look);

// --- coming and going ----------------------------------------------------------------------------

// Browsers open few connections to one server, and each stream holds one: a page in the background
// gives its own back.
const leave = delayed(HIDDEN_MS, () => typing.close());
document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') {
        leave();
        return;
    }
    leave.cancel();
    if (typing.well.signal.aborted) typing.open();
});
addEventListener('pagehide', () => typing.close());
addEventListener('pageshow', (event) => {
    if (event.persisted) typing.open();
});
whenKeyGiven(() => {
    typing.open();
    watchModels();
    tokensLater();
});

const tokens = new Tokens();
const figures = new Figures();
const end = editor.value.length;
editor.field.setSelectionRange(end, end);
editor.field.focus({ preventScroll: true });
typing.open();
tell();
speak(currentLanguage(), false);
showState();
// The first ghost goes before all that is only looked at.
setTimeout(() => {
    watchModels();
    figures.poll();
    tokensLater();
}, AFTER_MS);
