// SPDX-License-Identifier: MIT
// One request to the server this page came from, and what can go wrong with it by name.

// In sessionStorage: it is gone with the tab. Reading storage may be forbidden altogether.
let key = '';
try {
    key = sessionStorage.getItem('inkling.key') || '';
} catch {}

export const hasKey = () => key !== '';

export function setKey(value) {
    key = value;
    try {
        sessionStorage.setItem('inkling.key', value);
    } catch {}
}

// kind: gone, key, busy, loading, context, lost, refused, broken.
export class Problem extends Error {
    constructor(kind, message, status = 0, retryAfter = 0) {
        super(message);
        this.kind = kind;
        this.status = status;
        this.retryAfter = retryAfter; // seconds
    }
}

export function problemOf(status, error, retryAfter) {
    const kinds = { 401: 'key', 403: 'key', 404: 'lost', 429: 'busy', 503: 'loading' };
    let kind = kinds[status] || (status >= 500 ? 'broken' : 'refused');
    if (error?.code === 'context_length_exceeded') kind = 'context';
    return new Problem(kind, error?.message || `HTTP ${status}`, status, retryAfter);
}

// Paths are relative, so that the page also works behind a proxy that puts it in a folder.
// Throws a Problem, or an AbortError.
export async function request(method, path, { body, signal, keepalive } = {}) {
    const headers = {};
    if (key) headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    let response;
    try {
        response = await fetch(path, {
            method, headers, signal, keepalive, cache: 'no-store',
            body: body === undefined ? undefined : JSON.stringify(body),
        });
    } catch (error) {
        if (signal?.aborted) throw error;
        throw new Problem('gone', String(error.message || error));
    }
    if (response.ok) return response;
    let error = null;
    try {
        error = (await response.json()).error;
    } catch {}
    throw problemOf(response.status, error, Number(response.headers.get('retry-after')) || 0);
}

// The answer's JSON, null where there is none.
export async function ask(method, path, options) {
    const response = await request(method, path, options);
    try {
        const text = await response.text();
        return text ? JSON.parse(text) : null;
    } catch (error) {
        if (options?.signal?.aborted) throw error;
        throw new Problem('gone', String(error.message || error));
    }
}

// Resolves after ms, or as soon as the page comes back into view or onto the network.
export function pause(ms, signal) {
    return new Promise((resolve) => {
        const end = () => {
            clearTimeout(timer);
            removeEventListener('online', end);
            document.removeEventListener('visibilitychange', end);
            signal?.removeEventListener('abort', end);
            resolve();
        };
        const timer = setTimeout(end, ms);
        addEventListener('online', end);
        document.addEventListener('visibilitychange', end);
        signal?.addEventListener('abort', end);
    });
}
