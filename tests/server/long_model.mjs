// SPDX-License-Identifier: MIT
// The built-in model with a longer context, its learnt positions over and over again: nobody's
// machine writes it to the end before a client hangs up.
import fs from "node:fs";

const WIDTHS = [1, 1, 2, 2, 4, 4, 4, 1, undefined, undefined, 8, 8, 8]; // of GGUF's value types
const [UINT32, STRING, ARRAY] = [4, 8, 9];
const ALIGNMENT = 32;
const F32 = 0;

class Reader {
    constructor(bytes) {
        this.bytes = bytes;
        this.at = 0;
    }
    u32() {
        this.at += 4;
        return this.bytes.readUInt32LE(this.at - 4);
    }
    u64() {
        this.at += 8;
        return Number(this.bytes.readBigUInt64LE(this.at - 8));
    }
    text() {
        const n = this.u64();
        this.at += n;
        return this.bytes.toString("utf8", this.at - n, this.at);
    }
    skipValue(type) {
        if (type === STRING) this.text();
        else if (type === ARRAY) {
            const of = this.u32();
            for (let n = this.u64(); n > 0; n--) this.skipValue(of);
        } else this.at += WIDTHS[type];
    }
}

function u32(value) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
}
function u64(value) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
}
function text(value) {
    return Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
}
function aligned(n) {
    return Math.ceil(n / ALIGNMENT) * ALIGNMENT;
}

export function writeLongModel(from, to, nContext) {
    const bytes = fs.readFileSync(from);
    const reader = new Reader(bytes);
    reader.at = 8; // magic and version
    const nTensors = reader.u64(),
        nValues = reader.u64();
    const out = [bytes.subarray(0, reader.at)];
    for (let i = 0; i < nValues; i++) {
        const begin = reader.at,
            key = reader.text(),
            type = reader.u32();
        reader.skipValue(type);
        if (key === "general.alignment") throw new Error(`${from} is aligned in its own way`);
        out.push(
            key === "gpt2.context_length"
                ? Buffer.concat([text(key), u32(UINT32), u32(nContext)])
                : bytes.subarray(begin, reader.at),
        );
    }
    const tensors = [];
    for (let i = 0; i < nTensors; i++) {
        const tensor = { name: reader.text(), shape: [] };
        for (let n = reader.u32(); n > 0; n--) tensor.shape.push(reader.u64());
        tensor.type = reader.u32();
        tensor.offset = reader.u64();
        tensors.push(tensor);
    }
    const dataAt = aligned(reader.at);
    const inFile = [...tensors].sort((a, b) => a.offset - b.offset);
    inFile.forEach((tensor, i) => {
        const end = i + 1 < inFile.length ? dataAt + inFile[i + 1].offset : bytes.length;
        tensor.data = bytes.subarray(dataAt + tensor.offset, end);
    });
    const positions = tensors.find((tensor) => tensor.name === "position_embd.weight");
    if (positions?.type !== F32) throw new Error(`${from} has no float positions`);
    const [width, n] = positions.shape;
    const all = positions.data.subarray(0, width * n * 4);
    positions.data = Buffer.concat(Array(Math.ceil(nContext / n)).fill(all)).subarray(
        0,
        width * nContext * 4,
    );
    positions.shape = [width, nContext];

    let offset = 0;
    for (const tensor of tensors) {
        out.push(
            text(tensor.name),
            u32(tensor.shape.length),
            ...tensor.shape.map(u64),
            u32(tensor.type),
            u64(offset),
        );
        offset = aligned(offset + tensor.data.length);
    }
    pad(out);
    for (const tensor of tensors) {
        out.push(tensor.data);
        pad(out);
    }
    fs.writeFileSync(to, Buffer.concat(out));
}

function pad(out) {
    const n = out.reduce((sum, part) => sum + part.length, 0);
    out.push(Buffer.alloc(aligned(n) - n));
}
