// SPDX-License-Identifier: MIT
// All that the page says, in English and in Chinese.

const TEXTS = {
    en: {
        title: 'Inkling: words on your own device',
        tagline: 'Turns a model file into words. On this device, offline.',
        model: 'Model', model_opening: 'opening', model_failed: 'not usable',
        switch: '中文', switch_label: '切换到简体中文',
        skip: 'To the text field',
        text: 'Your text', placeholder: 'Begin a sentence…',
        suggestion: 'Suggestion',
        accept: 'Accept', word: 'Word', dismiss: 'Dismiss', another: 'Another',
        generate: 'Generate', stop: 'Stop', undo: 'Undo', copy: 'Copy', clear: 'Clear',
        tab: 'Tab', ctrl_right: 'Ctrl →', esc: 'Esc',
        hint: 'Write, and the grey text says how it could go on.',
        hint_keys: 'Tab accepts it, Ctrl and the right arrow a word of it, Esc dismisses it; Tab then ' +
            'leaves the field.',
        settings: 'Settings',
        window: 'Words read before the caret', words: '{n} words',
        length: 'Length of Generate', tokens_n: '{n} tokens',
        temperature: 'Temperature', temperature_0: '0, always the likeliest',
        figures: 'Live figures',
        first: 'First token', speed: 'Tokens a second', memory: 'Memory', reused: 'Tokens reused',
        of: '{a} of {b}',
        chart: '{name}, the last {n}: newest {last}, lowest {low}, highest {high}',
        chart_empty: '{name}: nothing measured yet', chart_name: '{name}, the last {n}',
        tokens: 'Tokens', tokens_about: 'The pieces that the model reads and writes. The fuller the ' +
            'colour, the surer it was of the piece.',
        tokens_empty: 'Write or generate something to see its pieces.',
        tokens_pick: 'Point at a piece, or move over the pieces with the arrow keys.',
        tokens_gone: 'This server does not tell probabilities.',
        tokens_list: 'Pieces of the text', unsure: 'unlikely', sure: 'certain',
        piece: '“{text}”, {percent}', piece_first: '“{text}”, the first piece has no probability',
        instead: 'instead: {list}', between: ', ',
        program: 'From your own program',
        program_about: 'The server speaks OpenAI’s interface: set the base URL of any client of it. ' +
            'Generate, as a command:',
        copy_command: 'Copy the command',
        foot: 'All of it runs in the program that serves this page. Nothing you write leaves it.',
        said_copied: 'Copied.', said_not_copied: 'The browser does not let this page copy.',
        said_undone: 'Undone.', said_nothing: 'Nothing to undo.', said_cleared: 'Cleared.',
        said_generating: 'Generating.', said_done: 'Done: {n} tokens.', said_stopped: 'Stopped.',
        said_suggestion: 'Suggestion: {text}', said_more: 'No other suggestion.',
        gone: 'The server does not answer. Start it again with “inkling serve”; this page reconnects ' +
            'by itself.',
        key: 'This server asks for a key. Enter it; it is kept until you close this tab.',
        key_wrong: 'The server does not take this key. Check it and enter it again.',
        key_label: 'Key', key_send: 'Use it',
        busy: 'The server has more to do than it can. It is asked again in {n} s.',
        busy_generate: 'The server has more to do than it can. Try again in a moment.',
        context: 'That is more than the model can read. Choose fewer words or a smaller length.',
        loading: 'The model is being opened. This takes a moment; the page waits.',
        failed: 'This model could not be opened. Choose another one, or look at the program’s output.',
        refused: 'The server refused: {why}',
        broken: 'The server failed: {why} Try again; its output says more.',
        retry: 'Try again', close: 'Close',
    },
    zh: {
        title: 'Inkling：在你自己的设备上写字',
        tagline: '把一个模型文件变成文字。就在这台设备上，无需联网。',
        model: '模型', model_opening: '正在打开', model_failed: '不可用',
        switch: 'English', switch_label: 'Switch to English',
        skip: '跳到输入框',
        text: '你的文字', placeholder: '写下一句话的开头…',
        suggestion: '建议',
        accept: '采纳', word: '一个词', dismiss: '忽略', another: '换一个',
        generate: '生成', stop: '停止', undo: '撤销', copy: '复制', clear: '清空',
        tab: 'Tab', ctrl_right: 'Ctrl →', esc: 'Esc',
        hint: '写几个字，灰色的文字就是可能的下文。内置模型只学过英文小故事。',
        hint_keys: '按 Tab 采纳，Ctrl 加右方向键采纳一个词，Esc 忽略；之后再按 Tab 离开输入框。',
        settings: '设置',
        window: '读取光标前的词数', words: '{n} 个词',
        length: '生成长度', tokens_n: '{n} 个词元',
        temperature: '温度', temperature_0: '0，总取最可能的',
        figures: '实时数据',
        first: '首个词元', speed: '每秒词元数', memory: '内存', reused: '复用的词元',
        of: '{a} / {b}',
        chart: '{name}，最近 {n} 次：最新 {last}，最低 {low}，最高 {high}',
        chart_empty: '{name}：还没有数据', chart_name: '{name}，最近 {n} 次',
        tokens: '词元', tokens_about: '模型读写的就是这些小片段。颜色越深，模型对它越有把握。',
        tokens_empty: '写点什么或点“生成”，就能看到它的片段。',
        tokens_pick: '指向一个片段，或用方向键在片段间移动。',
        tokens_gone: '此服务器不提供概率。',
        tokens_list: '文字的片段', unsure: '没把握', sure: '有把握',
        piece: '“{text}”，{percent}', piece_first: '“{text}”，第一个片段没有概率',
        instead: '也可能是：{list}', between: '、',
        program: '在你的程序里使用',
        program_about: '服务器使用 OpenAI 的接口：把任何现有客户端的地址改成这里即可。“生成”相当于这条命令：',
        copy_command: '复制命令',
        foot: '一切都在提供本页的程序里运行，你写的内容不会离开它。',
        said_copied: '已复制。', said_not_copied: '浏览器不允许本页复制。',
        said_undone: '已撤销。', said_nothing: '没有可撤销的内容。', said_cleared: '已清空。',
        said_generating: '正在生成。', said_done: '完成：{n} 个词元。', said_stopped: '已停止。',
        said_suggestion: '建议：{text}', said_more: '没有别的建议了。',
        gone: '服务器没有回应。请重新运行“inkling serve”，本页会自动重新连接。',
        key: '此服务器需要密钥。请输入；关闭此标签页后即被忘记。',
        key_wrong: '服务器不接受这个密钥。请检查后重新输入。',
        key_label: '密钥', key_send: '使用',
        busy: '服务器忙不过来，{n} 秒后会再次询问。',
        busy_generate: '服务器忙不过来。请稍后再试。',
        context: '超出了模型能读的长度。请减少词数或生成长度。',
        loading: '正在打开模型，请稍等，本页会自动继续。',
        failed: '无法打开这个模型。请换一个，或查看程序的输出。',
        refused: '服务器拒绝了请求：{why}',
        broken: '服务器出错：{why} 请重试，程序的输出里有更多信息。',
        retry: '重试', close: '关闭',
    },
};

let language = 'en';

function stored() {
    try {
        return localStorage.getItem('inkling.language');
    } catch {
        return null;
    }
}

export function firstLanguage() {
    const kept = stored();
    if (kept in TEXTS) return kept;
    for (const tag of navigator.languages || [navigator.language]) {
        if (/^zh\b/i.test(tag)) return 'zh';
        if (/^en\b/i.test(tag)) return 'en';
    }
    return 'en';
}

export const currentLanguage = () => language;

// Puts every element's text into the language; `keep`: also for the next visit.
export function setLanguage(next, keep = false) {
    language = next;
    document.documentElement.lang = next === 'zh' ? 'zh-Hans' : 'en';
    document.title = say('title');
    for (const element of document.querySelectorAll('[data-say]'))
        element.textContent = say(element.dataset.say);
    for (const element of document.querySelectorAll('[data-label]'))
        element.setAttribute('aria-label', say(element.dataset.label));
    for (const element of document.querySelectorAll('[data-placeholder]'))
        element.setAttribute('placeholder', say(element.dataset.placeholder));
    if (!keep) return;
    try {
        localStorage.setItem('inkling.language', next);
    } catch {}
}

export function say(name, values = {}) {
    const text = TEXTS[language][name] ?? name;
    return text.replace(/\{(\w+)\}/g, (all, field) => String(values[field] ?? all));
}

const locale = () => (language === 'zh' ? 'zh-Hans' : 'en');

export function number(value, digits = 0) {
    return new Intl.NumberFormat(locale(), {
        minimumFractionDigits: digits, maximumFractionDigits: digits,
    }).format(value);
}

// A probability for people: whole percents, and never 100 % of what is not certain.
export function percent(probability) {
    const hundred = probability * 100;
    const digits = hundred < 0.1 ? 3 : hundred < 10 || hundred > 99 ? 1 : 0;
    return `${number(Math.min(hundred, probability < 1 ? 99.9 : 100), digits)} %`;
}
