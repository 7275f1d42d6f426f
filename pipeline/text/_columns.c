/* The loops over the rows of columns of text, outside of Python's global lock: SHA-256 of each row, what is wrong with its
   UTF-8, tokens looked up in a vocabulary, counted, and their counts summed; and keys, found in sorted ones. `columns.py` does
   the same with hashlib, NumPy and Arrow where this was not compiled, and the tests hold both against each other. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#define X86 1
#else
#define X86 0
#endif

/* Whether N + 1 int32 bounds do not decrease and stay within the data. */
static int are_bounds(const Py_buffer *bounds, const Py_buffer *data)
{
    Py_ssize_t rows = bounds->len / (Py_ssize_t)sizeof(int32_t) - 1;
    const int32_t *edges = bounds->buf;
    if (rows < 0 || edges[0] < 0 || edges[rows] > data->len) return 0;
    for (Py_ssize_t row = 0; row < rows; row++)
        if (edges[row] > edges[row + 1]) return 0;
    return 1;
}

static size_t rows_of(const Py_buffer *bounds)
{
    return (size_t)bounds->len / sizeof(int32_t) - 1;
}

/* An object of bytes that is still to be filled. */
static PyObject *room_for(size_t size, void **data)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    *data = bytes ? PyBytes_AsString(bytes) : NULL;
    return bytes;
}

/* ---- SHA-256: FIPS 180-4, with the instructions that x86 has for it; others leave it to OpenSSL, see columns.py ---- */

enum { SHA_BLOCK = 64, SHA_BYTES = 32 };

#if X86

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const uint32_t START[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static int has_sha(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

/* Takes blocks of 64 bytes into the state, which is kept as the instructions have it: ABEF and CDGH. */
__attribute__((target("sha,sse4.1,ssse3"))) static void compress(__m128i state[2], const uint8_t *data, size_t blocks)
{
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abef = state[0], cdgh = state[1];
    for (; blocks; blocks--, data += SHA_BLOCK) {
        __m128i before_abef = abef, before_cdgh = cdgh, words[4];
        for (int i = 0; i < 4; i++)
            words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)data + i), order);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) { /* four rounds each */
            __m128i word = words[i & 3];
            __m128i input = _mm_add_epi32(word, _mm_loadu_si128((const __m128i *)ROUND + i));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, input);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(input, 0x0e));
            if (i < 12) {
                __m128i next = _mm_sha256msg1_epu32(word, words[(i + 1) & 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(words[(i + 3) & 3], words[(i + 2) & 3], 4));
                words[i & 3] = _mm_sha256msg2_epu32(next, words[(i + 3) & 3]);
            }
        }
        abef = _mm_add_epi32(abef, before_abef);
        cdgh = _mm_add_epi32(cdgh, before_cdgh);
    }
    state[0] = abef;
    state[1] = cdgh;
}

typedef struct {
    __m128i state[2];
    uint8_t rest[2 * SHA_BLOCK];
    size_t held; /* bytes of `rest`, fewer than a block */
} Sha;

__attribute__((target("sha,sse4.1,ssse3"))) static void take_bytes(Sha *sha, const uint8_t *data, size_t size)
{
    if (sha->held) {
        size_t part = SHA_BLOCK - sha->held < size ? SHA_BLOCK - sha->held : size;
        memcpy(sha->rest + sha->held, data, part);
        sha->held += part;
        data += part;
        size -= part;
        if (sha->held < SHA_BLOCK) return;
        compress(sha->state, sha->rest, 1);
    }
    compress(sha->state, data, size / SHA_BLOCK);
    sha->held = size % SHA_BLOCK;
    memcpy(sha->rest, data + size - sha->held, sha->held);
}

/* SHA-256 of two parts, one after the other. */
__attribute__((target("sha,sse4.1,ssse3"))) static void digest(const uint8_t *first, size_t first_size, const uint8_t *second,
                                                               size_t second_size, uint8_t *out)
{
    const uint32_t *s = START;
    Sha sha = {.state = {_mm_set_epi32((int)s[0], (int)s[1], (int)s[4], (int)s[5]),
                         _mm_set_epi32((int)s[2], (int)s[3], (int)s[6], (int)s[7])}};
    take_bytes(&sha, first, first_size);
    take_bytes(&sha, second, second_size);
    uint64_t bits = 8 * ((uint64_t)first_size + second_size);
    size_t blocks = sha.held + 9 > SHA_BLOCK ? 2 : 1;
    memset(sha.rest + sha.held, 0, blocks * SHA_BLOCK - sha.held);
    sha.rest[sha.held] = 0x80;
    for (size_t i = 0; i < 8; i++) sha.rest[blocks * SHA_BLOCK - 1 - i] = (uint8_t)(bits >> 8 * i);
    compress(sha.state, sha.rest, blocks);
    uint32_t abef[4], cdgh[4];
    _mm_storeu_si128((__m128i *)abef, sha.state[0]);
    _mm_storeu_si128((__m128i *)cdgh, sha.state[1]);
    const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 4; j++) out[4 * i + j] = (uint8_t)(words[i] >> (24 - 8 * j));
}

PyDoc_STRVAR(sha256_doc,
    "sha256(data, bounds, tails, tail_bounds, which) -> digests\n\n"
    "SHA-256 of the rows data[bounds[i]:bounds[i + 1]], behind each the tail which[i] of tails[tail_bounds[j]:\n"
    "tail_bounds[j + 1]] (bounds and which: int32). Gives (N, 32) uint8. Only where the processor has instructions for it.");

static PyObject *sha256(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer data, bounds, tails, tail_bounds, which;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*", &data, &bounds, &tails, &tail_bounds, &which)) return NULL;
    PyObject *result = NULL;
    const int32_t *edges = bounds.buf, *tail_edges = tail_bounds.buf, *chosen = which.buf;
    int sound = are_bounds(&bounds, &data) && are_bounds(&tail_bounds, &tails) &&
                (size_t)which.len == rows_of(&bounds) * sizeof(int32_t);
    for (size_t row = 0; sound && row < rows_of(&bounds); row++)
        sound = chosen[row] >= 0 && (size_t)chosen[row] < rows_of(&tail_bounds);
    void *out;
    if (!sound) {
        PyErr_SetString(PyExc_ValueError, "sha256: bounds within the data, and a tail for each row are needed");
    } else if ((result = room_for(rows_of(&bounds) * SHA_BYTES, &out))) {
        Py_BEGIN_ALLOW_THREADS
        for (size_t row = 0; row < rows_of(&bounds); row++) {
            const int32_t *tail = tail_edges + chosen[row];
            digest((const uint8_t *)data.buf + edges[row], (size_t)(edges[row + 1] - edges[row]),
                   (const uint8_t *)tails.buf + tail[0], (size_t)(tail[1] - tail[0]), (uint8_t *)out + row * SHA_BYTES);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&bounds);
    PyBuffer_Release(&tails);
    PyBuffer_Release(&tail_bounds);
    PyBuffer_Release(&which);
    return result;
}

#endif

/* ---- UTF-8 ---- */

enum { NOT_UTF8 = 1, HAS_NUL = 2, CHANGES = 4 };
enum { STEP = 64 }; /* bytes that the compiler looks at together */

#if X86 && defined(__GLIBC__) && !defined(__clang__)
#define WIDER __attribute__((target_clones("avx2", "default"))) /* where the processor has longer registers */
#else
#define WIDER
#endif

/* The first byte beyond ASCII or NUL, or up to `STEP` bytes before it. */
WIDER static const uint8_t *plain_end(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= STEP; at += STEP) {
        uint8_t odd = 0;
        for (size_t i = 0; i < STEP; i++) odd |= (uint8_t)(at[i] | (at[i] - 1));
        if (odd & 0x80) break;
    }
    return at;
}

/* The bytes of the character at `at`, which is beyond ASCII, and its code point; 0 if it is not UTF-8. */
static size_t wide_character(const uint8_t *at, const uint8_t *end, uint32_t *code)
{
    uint8_t lead = *at;
    size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || (size_t)(end - at) < size) return 0;
    *code = lead & (0xFFu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
        *code = *code << 6 | (at[i] & 0x3Fu);
    }
    if (size == 3 && (*code < 0x800 || (*code >= 0xD800 && *code < 0xE000))) return 0;
    if (size == 4 && (*code < 0x10000 || *code > 0x10FFFF)) return 0;
    return size;
}

static uint8_t text_state(const uint8_t *at, const uint8_t *end, const uint8_t *changing)
{
    uint8_t state = 0;
    while (at < end) {
        at = plain_end(at, end);
        for (size_t i = 0; i < STEP && at < end; i++) {
            if (*at < 0x80) {
                if (!*at++) state |= HAS_NUL;
                continue;
            }
            uint32_t code;
            size_t size = wide_character(at, end, &code);
            if (!size) {
                state |= NOT_UTF8;
                at++;
                continue;
            }
            if (changing[code >> 3] >> (code & 7) & 1) state |= CHANGES;
            at += size;
        }
    }
    return state & NOT_UTF8 ? state & (uint8_t)~CHANGES : state;
}

PyDoc_STRVAR(text_states_doc,
    "text_states(data, bounds, changing) -> states\n\n"
    "What the texts data[bounds[i]:bounds[i + 1]] (bounds: int32) hold, uint8 each: 1 if a text is not UTF-8, 2 if it has a\n"
    "NUL, 4 if it is UTF-8 and has a character beyond ASCII of the set `changing`, a bit for each code point.");

static PyObject *text_states(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer data, bounds, changing;
    if (!PyArg_ParseTuple(arguments, "y*y*y*", &data, &bounds, &changing)) return NULL;
    PyObject *result = NULL;
    void *out;
    if (!are_bounds(&bounds, &data) || changing.len != 0x110000 / 8) {
        PyErr_SetString(PyExc_ValueError, "text_states: bounds within the data and a bit for each code point are needed");
    } else if ((result = room_for(rows_of(&bounds), &out))) {
        const int32_t *edges = bounds.buf;
        const uint8_t *begin = data.buf;
        Py_BEGIN_ALLOW_THREADS
        for (size_t row = 0; row < rows_of(&bounds); row++)
            ((uint8_t *)out)[row] = text_state(begin + edges[row], begin + edges[row + 1], changing.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&bounds);
    PyBuffer_Release(&changing);
    return result;
}

/* ---- a vocabulary ---- */

typedef struct {
    uint64_t head; /* the first 8 bytes, zeros after the end */
    uint32_t tag;  /* of hash and size: of two words of at most 8 bytes, equal head and tag mean equal words */
    int32_t word;  /* -1 for none */
} Slot;

enum { TAG_SIZES = 16 };

/* The first 8 bytes of a word, zeros after its end; `room` bytes may be read. */
static uint64_t eight_bytes(const uint8_t *bytes, size_t size, size_t room)
{
    uint64_t part = 0;
    if (size >= sizeof part || room < sizeof part) {
        memcpy(&part, bytes, size < sizeof part ? size : sizeof part);
        return part;
    }
    memcpy(&part, bytes, sizeof part);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return size ? part & ~UINT64_C(0) << (64 - 8 * size) : 0;
#else
    return part & ((UINT64_C(1) << 8 * size) - 1);
#endif
}

static Slot slot_of(const uint8_t *bytes, size_t size, size_t room)
{
    Slot slot = {.head = eight_bytes(bytes, size, room), .word = -1};
    uint64_t hash = 0x9E3779B97F4A7C15u ^ size, part = slot.head;
    for (size_t at = 0;;) {
        hash = (hash ^ part) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
        at += sizeof part;
        if (at >= size) break;
        part = eight_bytes(bytes + at, size - at, room - at);
    }
    hash *= 0xD6E8FEB86659FD93u;
    slot.tag = (uint32_t)(hash >> 32) / TAG_SIZES * TAG_SIZES + (uint32_t)(size < TAG_SIZES ? size : TAG_SIZES - 1);
    return slot;
}

PyDoc_STRVAR(word_table_doc,
    "word_table(words, bounds) -> table\n\n"
    "A table to look up the distinct words words[bounds[i]:bounds[i + 1]] (bounds: int32) with `word_ids`.");

static PyObject *word_table(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer words, bounds;
    if (!PyArg_ParseTuple(arguments, "y*y*", &words, &bounds)) return NULL;
    PyObject *result = NULL;
    void *table;
    if (!are_bounds(&bounds, &words)) {
        PyErr_SetString(PyExc_ValueError, "word_table: bounds within the words are needed");
    } else {
        size_t num_slots = 16;
        while (num_slots < 2 * rows_of(&bounds)) num_slots *= 2;
        if ((result = room_for(num_slots * sizeof(Slot), &table))) {
            Slot *slots = table;
            const int32_t *edges = bounds.buf;
            for (size_t i = 0; i < num_slots; i++) slots[i] = (Slot){.word = -1};
            for (size_t word = 0; word < rows_of(&bounds); word++) {
                size_t begin = (size_t)edges[word];
                Slot slot = slot_of((const uint8_t *)words.buf + begin, (size_t)edges[word + 1] - begin,
                                    (size_t)words.len - begin);
                slot.word = (int32_t)word;
                size_t place = slot.tag / TAG_SIZES & (num_slots - 1);
                while (slots[place].word >= 0) place = (place + 1) & (num_slots - 1);
                slots[place] = slot;
            }
        }
    }
    PyBuffer_Release(&words);
    PyBuffer_Release(&bounds);
    return result;
}

static int32_t look_up(const uint8_t *bytes, size_t size, size_t room, const Slot *slots, size_t num_slots,
                       const uint8_t *words, const int32_t *edges)
{
    Slot wanted = slot_of(bytes, size, room);
    for (size_t place = wanted.tag / TAG_SIZES & (num_slots - 1);; place = (place + 1) & (num_slots - 1)) {
        Slot slot = slots[place];
        if (slot.word < 0) return -1;
        if (slot.tag != wanted.tag || slot.head != wanted.head) continue;
        if (size <= sizeof slot.head) return slot.word;
        const int32_t *bound = edges + slot.word;
        if ((size_t)(bound[1] - bound[0]) == size && !memcmp(words + bound[0], bytes, size)) return slot.word;
    }
}

/* The number found[j] for each of the indices j, which take `width` bytes each; how many of them are below `distinct`. */
static size_t take_numbers(const int32_t *found, size_t distinct, const void *indices, size_t width, size_t count, int32_t *out)
{
    size_t at = 0;
    if (width == sizeof(uint16_t)) {
        const uint16_t *places = indices;
        for (; at < count && places[at] < distinct; at++) out[at] = found[places[at]];
    } else {
        const uint32_t *places = indices;
        for (; at < count && places[at] < distinct; at++) out[at] = found[places[at]];
    }
    return at;
}

PyDoc_STRVAR(word_ids_doc,
    "word_ids(table, words, bounds, tokens, token_bounds, indices, width, first, unknown) -> ids\n\n"
    "The int32 id of each token tokens[token_bounds[j]:token_bounds[j + 1]], j = indices[i]: `first` and the place of the\n"
    "word that it is, or `unknown`. `table` is `word_table(words, bounds)`; bounds are int32, indices uint16 or int32,\n"
    "`width` bytes each.");

static PyObject *word_ids(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer table, words, bounds, tokens, token_bounds, indices;
    int width, first, unknown;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*iii", &table, &words, &bounds, &tokens, &token_bounds, &indices, &width,
                          &first, &unknown))
        return NULL;
    PyObject *result = NULL;
    void *out;
    size_t each = width == sizeof(uint16_t) ? sizeof(uint16_t) : sizeof(int32_t);
    size_t count = (size_t)indices.len / each, num_slots = (size_t)table.len / sizeof(Slot), at = 0;
    size_t distinct = 0;
    int32_t *found = NULL;
    if (!are_bounds(&bounds, &words) || !are_bounds(&token_bounds, &tokens) || num_slots < 2 * rows_of(&bounds) ||
        num_slots < 16 || num_slots & (num_slots - 1)) {
        PyErr_SetString(PyExc_ValueError, "word_ids: the table of these words, and bounds within the tokens are needed");
    } else if (!(found = malloc((rows_of(&token_bounds) + 1) * sizeof *found))) {
        PyErr_NoMemory();
    } else if ((result = room_for(count * sizeof(int32_t), &out))) {
        distinct = rows_of(&token_bounds);
        const int32_t *edges = token_bounds.buf;
        Py_BEGIN_ALLOW_THREADS
        for (size_t j = 0; j < distinct; j++) {
            size_t begin = (size_t)edges[j];
            int32_t word = look_up((const uint8_t *)tokens.buf + begin, (size_t)edges[j + 1] - begin,
                                   (size_t)tokens.len - begin, table.buf, num_slots, words.buf, bounds.buf);
            found[j] = word < 0 ? unknown : first + word;
        }
        at = take_numbers(found, distinct, indices.buf, each, count, out);
        Py_END_ALLOW_THREADS
        if (at < count) {
            PyErr_SetString(PyExc_ValueError, "word_ids: an index beyond the tokens");
            Py_CLEAR(result);
        }
    }
    free(found);
    PyBuffer_Release(&table);
    PyBuffer_Release(&words);
    PyBuffer_Release(&bounds);
    PyBuffer_Release(&tokens);
    PyBuffer_Release(&token_bounds);
    PyBuffer_Release(&indices);
    return result;
}

PyDoc_STRVAR(occurrences_doc,
    "occurrences(indices, distinct) -> counts\n\n"
    "How often each of the numbers below `distinct` is in `indices` (int32), int64 each.");

static PyObject *occurrences(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer indices;
    Py_ssize_t distinct;
    if (!PyArg_ParseTuple(arguments, "y*n", &indices, &distinct)) return NULL;
    size_t count = (size_t)indices.len / sizeof(int32_t), at = 0;
    void *out;
    PyObject *result = room_for((size_t)distinct * sizeof(int64_t), &out);
    if (result) {
        const int32_t *places = indices.buf;
        int64_t *counts = out;
        Py_BEGIN_ALLOW_THREADS
        memset(counts, 0, (size_t)distinct * sizeof *counts);
        for (; at < count && (uint32_t)places[at] < (size_t)distinct; at++) counts[places[at]]++;
        Py_END_ALLOW_THREADS
        if (at < count) {
            PyErr_SetString(PyExc_ValueError, "occurrences: an index beyond the distinct ones");
            Py_CLEAR(result);
        }
    }
    PyBuffer_Release(&indices);
    return result;
}

/* ---- sums of counts ---- */

typedef struct {
    const uint8_t *bytes;
    size_t size;
} Word;

typedef struct {
    Slot *slots;
    size_t num_slots; /* a power of two, at least twice the words */
    Word *words;
    int64_t *sums;
    size_t count, room; /* words that are there, and that there is room for */
} Sums;

/* Room for twice as many words. Their places in the table follow from the tags, so no word is read again. */
static int grow(Sums *sums)
{
    size_t room = 2 * sums->room, num_slots = 2 * room;
    Word *words = realloc(sums->words, room * sizeof *words);
    if (words) sums->words = words;
    int64_t *totals = realloc(sums->sums, room * sizeof *totals);
    if (totals) sums->sums = totals;
    Slot *slots = malloc(num_slots * sizeof *slots);
    if (!words || !totals || !slots) {
        free(slots);
        return 0;
    }
    for (size_t i = 0; i < num_slots; i++) slots[i] = (Slot){.word = -1};
    for (size_t i = 0; i < sums->num_slots; i++) {
        if (sums->slots[i].word < 0) continue;
        size_t place = sums->slots[i].tag / TAG_SIZES & (num_slots - 1);
        while (slots[place].word >= 0) place = (place + 1) & (num_slots - 1);
        slots[place] = sums->slots[i];
    }
    free(sums->slots);
    sums->slots = slots;
    sums->num_slots = num_slots;
    sums->room = room;
    return 1;
}

static void add_count(Sums *sums, Slot wanted, const uint8_t *bytes, size_t size, int64_t count)
{
    size_t place = wanted.tag / TAG_SIZES & (sums->num_slots - 1);
    for (;; place = (place + 1) & (sums->num_slots - 1)) {
        Slot slot = sums->slots[place];
        if (slot.word < 0) break;
        if (slot.tag != wanted.tag || slot.head != wanted.head) continue;
        Word word = sums->words[slot.word];
        if (size > sizeof slot.head && (word.size != size || memcmp(word.bytes, bytes, size))) continue;
        sums->sums[slot.word] += count;
        return;
    }
    wanted.word = (int32_t)sums->count;
    sums->slots[place] = wanted;
    sums->words[sums->count] = (Word){bytes, size};
    sums->sums[sums->count++] = count;
}

typedef struct {
    Py_buffer words, bounds, counts;
} Counted;

#if defined(__GNUC__)
#define FETCH_EARLY(place) __builtin_prefetch(place)
#else
#define FETCH_EARLY(place) (void)(place)
#endif

/* The words of a part and their counts. The table does not fit into the cache, so places are fetched for several at once. */
static int add_counted(Sums *sums, const Counted *part)
{
    enum { AT_ONCE = 16 };
    const int32_t *edges = part->bounds.buf;
    const uint8_t *words = part->words.buf;
    size_t rows = rows_of(&part->bounds), size = (size_t)part->words.len;
    for (size_t row = 0, next; row < rows; row = next) {
        next = rows - row < AT_ONCE ? rows : row + AT_ONCE;
        if (sums->room - sums->count < AT_ONCE && !grow(sums)) return 0;
        Slot wanted[AT_ONCE];
        for (size_t i = row; i < next; i++) {
            size_t begin = (size_t)edges[i];
            wanted[i - row] = slot_of(words + begin, (size_t)edges[i + 1] - begin, size - begin);
            FETCH_EARLY(sums->slots + (wanted[i - row].tag / TAG_SIZES & (sums->num_slots - 1)));
        }
        for (size_t i = row; i < next; i++)
            add_count(sums, wanted[i - row], words + edges[i], (size_t)(edges[i + 1] - edges[i]),
                      ((const int64_t *)part->counts.buf)[i]);
    }
    return 1;
}

/* The words side by side, their bounds and sums, as three objects of bytes. */
static PyObject *summed(const Sums *sums)
{
    size_t size = 0;
    for (size_t i = 0; i < sums->count; i++) size += sums->words[i].size;
    if (size > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "sum_counts: the distinct words have more than 2 GiB");
        return NULL;
    }
    void *words, *edges, *totals;
    PyObject *parts[3] = {room_for(size, &words), room_for((sums->count + 1) * sizeof(int32_t), &edges),
                          room_for(sums->count * sizeof(int64_t), &totals)};
    PyObject *result = NULL;
    if (parts[0] && parts[1] && parts[2]) {
        int32_t at = 0;
        for (size_t i = 0; i < sums->count; i++) {
            ((int32_t *)edges)[i] = at;
            memcpy((uint8_t *)words + at, sums->words[i].bytes, sums->words[i].size);
            at += (int32_t)sums->words[i].size;
        }
        ((int32_t *)edges)[sums->count] = at;
        memcpy(totals, sums->sums, sums->count * sizeof(int64_t));
        result = PyTuple_Pack(3, parts[0], parts[1], parts[2]);
    }
    for (size_t i = 0; i < 3; i++) Py_XDECREF(parts[i]);
    return result;
}

PyDoc_STRVAR(sum_counts_doc,
    "sum_counts(parts) -> words, bounds, sums\n\n"
    "The distinct words of all parts, in the order in which they are met first, and the sum of their counts (int64). Each\n"
    "part is a tuple of words side by side, their bounds (int32) and counts.");

static PyObject *sum_counts(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *given, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "O", &given)) return NULL;
    Py_ssize_t num_parts = PySequence_Size(given), held = 0;
    if (num_parts < 0) return NULL;
    enum { FIRST_ROOM = 1024 };
    Sums sums = {.room = FIRST_ROOM / 2};
    Counted *parts = calloc((size_t)num_parts + 1, sizeof *parts);
    int sound = parts != NULL;
    for (; sound && held < num_parts; held++) {
        PyObject *part = PySequence_GetItem(given, held);
        Counted *to = parts + held;
        sound = part && PyArg_ParseTuple(part, "y*y*y*", &to->words, &to->bounds, &to->counts);
        Py_XDECREF(part);
        if (!sound) break;
        if (!are_bounds(&to->bounds, &to->words) || (size_t)to->counts.len != rows_of(&to->bounds) * sizeof(int64_t)) {
            PyErr_SetString(PyExc_ValueError, "sum_counts: bounds within the words, and a count for each, are needed");
            held++;
            sound = 0;
            break;
        }
    }
    if (sound) {
        Py_BEGIN_ALLOW_THREADS
        sound = grow(&sums);
        for (Py_ssize_t i = 0; sound && i < num_parts; i++) sound = add_counted(&sums, parts + i);
        Py_END_ALLOW_THREADS
        if (sound) result = summed(&sums);
    }
    if (!result && !PyErr_Occurred()) PyErr_NoMemory();
    free(sums.slots);
    free(sums.words);
    free(sums.sums);
    for (Py_ssize_t i = 0; i < held; i++) {
        PyBuffer_Release(&parts[i].words);
        PyBuffer_Release(&parts[i].bounds);
        PyBuffer_Release(&parts[i].counts);
    }
    free(parts);
    return result;
}

/* ---- keys ---- */

/* The first of the sorted `keys` from `low` on that is not below `key`: the one at `guess`, or near it. */
static size_t first_from(const uint64_t *keys, size_t size, size_t low, size_t guess, uint64_t key)
{
    enum { FIRST_STEP = 8 };
    size_t high = size, step = FIRST_STEP;
    if (guess < size && keys[guess] < key) {
        for (low = guess + 1; low + step < size && keys[low + step] < key; step *= 2) low += step + 1;
        if (low + step < size) high = low + step;
    } else if (guess < size) {
        for (high = guess; high > low + step && keys[high - step] >= key; step *= 2) high -= step;
        if (high > low + step) low = high - step;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

PyDoc_STRVAR(find_keys_doc,
    "find_keys(keys, wanted) -> places\n\n"
    "The place of each of the `wanted` in `keys`, int64; -1 if it is not there. Both are sorted uint64, and `keys` distinct.\n"
    "Fast for keys that are spread evenly over all numbers, as hashes are: each place is guessed from the one before.");

static PyObject *find_keys(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer keys, wanted;
    if (!PyArg_ParseTuple(arguments, "y*y*", &keys, &wanted)) return NULL;
    size_t size = (size_t)keys.len / sizeof(uint64_t), count = (size_t)wanted.len / sizeof(uint64_t);
    void *out;
    PyObject *result = room_for(count * sizeof(int64_t), &out);
    if (result) {
        const uint64_t *at = keys.buf, *key = wanted.buf;
        int64_t *places = out;
        Py_BEGIN_ALLOW_THREADS
        double density = (double)size / 18446744073709551616.0;
        uint64_t before = 0;
        size_t place = 0;
        for (size_t i = 0; i < count; before = key[i++]) {
            size_t guess = place;
            if (key[i] > before) guess += (size_t)((double)(key[i] - before) * density);
            place = first_from(at, size, place, guess, key[i]);
            places[i] = place < size && at[place] == key[i] ? (int64_t)place : -1;
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&keys);
    PyBuffer_Release(&wanted);
    return result;
}

/* ---- names of files ---- */

enum { NAME_START, NUMBER, SECOND, NAME_PARTS };

/* The number of at most `most` digits at `*at`, which goes behind it; -1 if there is none, or one that is longer. */
static int32_t number_at(const uint8_t **at, const uint8_t *end, int most)
{
    int32_t number = 0;
    int digits = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at)
        if (++digits <= most) number = 10 * number + (**at - '0');
    return digits && digits <= most ? number : -1;
}

PyDoc_STRVAR(name_numbers_doc,
    "name_numbers(paths, bounds) -> numbers\n\n"
    "The numbers in file names such as 12_8.txt, the last parts of paths[bounds[i]:bounds[i + 1]] (bounds: int32). Gives\n"
    "int32 (N, 3): where the name begins; its number of up to 9 digits, if a dot or an underscore follows; and the one of\n"
    "up to 3 digits between an underscore behind that number and the first dot or the end. -1 stands for none.");

static PyObject *name_numbers(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer paths, bounds;
    if (!PyArg_ParseTuple(arguments, "y*y*", &paths, &bounds)) return NULL;
    PyObject *result = NULL;
    void *out;
    if (!are_bounds(&bounds, &paths)) {
        PyErr_SetString(PyExc_ValueError, "name_numbers: bounds within the paths are needed");
    } else if ((result = room_for(rows_of(&bounds) * NAME_PARTS * sizeof(int32_t), &out))) {
        const int32_t *edges = bounds.buf;
        for (size_t row = 0; row < rows_of(&bounds); row++) {
            const uint8_t *begin = (const uint8_t *)paths.buf + edges[row], *end = (const uint8_t *)paths.buf + edges[row + 1];
            const uint8_t *at = end;
            while (at > begin && at[-1] != '/') at--;
            int32_t *parts = (int32_t *)out + row * NAME_PARTS;
            parts[NAME_START] = (int32_t)(at - begin);
            parts[NUMBER] = number_at(&at, end, 9);
            parts[SECOND] = -1;
            if (at == end || (*at != '.' && *at != '_')) {
                parts[NUMBER] = -1;
            } else if (parts[NUMBER] >= 0 && *at == '_') {
                at++;
                parts[SECOND] = number_at(&at, end, 3);
                if (at < end && *at != '.') parts[SECOND] = -1;
            }
        }
    }
    PyBuffer_Release(&paths);
    PyBuffer_Release(&bounds);
    return result;
}

static PyMethodDef methods[] = {
    {"name_numbers", name_numbers, METH_VARARGS, name_numbers_doc},
    {"text_states", text_states, METH_VARARGS, text_states_doc},
    {"word_table", word_table, METH_VARARGS, word_table_doc},
    {"word_ids", word_ids, METH_VARARGS, word_ids_doc},
    {"occurrences", occurrences, METH_VARARGS, occurrences_doc},
    {"sum_counts", sum_counts, METH_VARARGS, sum_counts_doc},
    {"find_keys", find_keys, METH_VARARGS, find_keys_doc},
    {NULL, NULL, 0, NULL},
};

#if X86
static PyMethodDef sha_methods[] = {
    {"sha256", sha256, METH_VARARGS, sha256_doc},
    {NULL, NULL, 0, NULL},
};
#endif

static int add_sha256(PyObject *module)
{
#if X86
    if (has_sha()) return PyModule_AddFunctions(module, sha_methods);
#endif
    (void)module;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_sha256}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_columns", "Loops over rows, outside of the global lock.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__columns(void)
{
    return PyModuleDef_Init(&definition);
}
