/* The loops that run over every byte or every token, outside of Python's global lock: reading many small files,
   splitting texts into tokens with a dictionary of the distinct ones, hashing the n-grams of reviews, and finding the
   records of a CSV. `numpy_kernels.py`, `ngrams.py` and `numpy_csv.py` do the same with NumPy where this was not compiled,
   and the tests hold both against one reference. No rule of a tokenizer is written here: all come as tables. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- growing buffers ---- */

typedef struct {
    uint8_t *data;
    size_t size, room; /* bytes */
} Buffer;

static int reserve(Buffer *buffer, size_t more)
{
    if (buffer->size + more <= buffer->room) return 1;
    size_t room = buffer->room ? buffer->room : 4096;
    while (room < buffer->size + more) room += room / 2;
    uint8_t *data = realloc(buffer->data, room);
    if (!data) return 0;
    buffer->data = data;
    buffer->room = room;
    return 1;
}

static int append(Buffer *buffer, const void *bytes, size_t count)
{
    if (!reserve(buffer, count)) return 0;
    memcpy(buffer->data + buffer->size, bytes, count);
    buffer->size += count;
    return 1;
}

static int append_int32(Buffer *buffer, int32_t number)
{
    return append(buffer, &number, sizeof number);
}

static PyObject *to_bytes(const Buffer *buffer)
{
    return PyBytes_FromStringAndSize((const char *)buffer->data, (Py_ssize_t)buffer->size);
}

/* ---- tokens ---- */

enum { WORD, SINGLE, BLANK, DROP, LEAD }; /* the classes of bytes, as in tokenizers.py */

typedef struct {
    const uint8_t *classes, *lower; /* 256 each */
    const uint8_t *mark;            /* a mark such as <br /> that is a blank; */
    size_t mark_size;               /* 0 for none */
    const uint8_t *wide;            /* white space beyond ASCII: for each, its size and its bytes */
    size_t wide_size;
    uint8_t flags[256]; /* what a byte is where nothing around it matters, and whether something does */
} Rules;

typedef struct {
    uint64_t head; /* the first 8 bytes, zeros after the end */
    uint32_t tag;  /* of hash and size: of two words of at most 8 bytes, equal head and tag mean equal words */
    int32_t id;    /* -1 for none */
} Slot;

typedef struct {
    Buffer words, offsets; /* the distinct tokens, in the order of their first occurrence */
    Buffer indices;        /* of every token */
    Slot *slots;
    size_t num_slots, num_words;
} Tokens;

enum { SLACK = 8, TAG_SIZES = 16 };

static uint64_t eight_bytes(const uint8_t *bytes)
{
    uint64_t part;
    memcpy(&part, bytes, 8);
    return part;
}

/* The first `size` of 8 bytes, the others zero. */
static uint64_t some_bytes(const uint8_t *bytes, size_t size)
{
    if (size >= 8) return eight_bytes(bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return size ? eight_bytes(bytes) & ~UINT64_C(0) << (64 - 8 * size) : 0;
#else
    return eight_bytes(bytes) & ((UINT64_C(1) << 8 * size) - 1);
#endif
}

#define NGRAM_SEED 0x9E3779B97F4A7C15u
#define NGRAM_MULTIPLIER 0xD6E8FEB86659FD93u

static uint64_t mixed(uint64_t hash, uint64_t part)
{
    hash = (hash ^ part) * 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 32;
}

static uint32_t tag_of(uint64_t head, const uint8_t *bytes, size_t size)
{
    uint64_t hash = mixed(0x9E3779B97F4A7C15u ^ size, head);
    for (size_t at = 8; at < size; at += 8) hash = mixed(hash, some_bytes(bytes + at, size - at));
    hash *= 0xD6E8FEB86659FD93u;
    return (uint32_t)(hash >> 32) / TAG_SIZES * TAG_SIZES + (uint32_t)(size < TAG_SIZES ? size : TAG_SIZES - 1);
}

static size_t first_place(uint32_t tag, size_t num_slots)
{
    return tag / TAG_SIZES & (num_slots - 1);
}

static Slot *empty_slots(size_t count)
{
    Slot *slots = calloc(count, sizeof *slots);
    for (size_t i = 0; slots && i < count; i++) slots[i].id = -1;
    return slots;
}

static int grow_slots(Tokens *tokens)
{
    Slot *before = tokens->slots;
    size_t count = tokens->num_slots;
    Slot *slots = empty_slots(2 * count);
    if (!slots) return 0;
    tokens->slots = slots;
    tokens->num_slots = 2 * count;
    for (size_t i = 0; i < count; i++) {
        if (before[i].id < 0) continue;
        size_t place = first_place(before[i].tag, 2 * count);
        while (slots[place].id >= 0) place = (place + 1) & (2 * count - 1);
        slots[place] = before[i];
    }
    free(before);
    return 1;
}

/* Where a token of `size` bytes is among the slots, or where it would be put; `SLACK` bytes behind it may be read. */
static size_t place_of(const Slot *slots, size_t num_slots, const uint8_t *words, const int32_t *bounds, uint64_t head,
                       uint32_t tag, const uint8_t *bytes, size_t size)
{
    size_t place = first_place(tag, num_slots);
    for (; slots[place].id >= 0; place = (place + 1) & (num_slots - 1)) {
        Slot slot = slots[place];
        if (slot.tag != tag || slot.head != head) continue;
        if (size <= 8) break;
        const int32_t *bound = bounds + slot.id;
        if ((size_t)(bound[1] - bound[0]) == size && !memcmp(words + bound[0], bytes, size)) break;
    }
    return place;
}

/* Adds a token of `size` bytes, behind which `SLACK` more may be read. */
static int emit(Tokens *tokens, const uint8_t *bytes, size_t size)
{
    uint64_t head = some_bytes(bytes, size);
    uint32_t tag = tag_of(head, bytes, size);
    size_t place = place_of(tokens->slots, tokens->num_slots, tokens->words.data, (const int32_t *)tokens->offsets.data, head,
                            tag, bytes, size);
    int32_t id = tokens->slots[place].id;
    if (id >= 0) return append_int32(&tokens->indices, id);
    id = (int32_t)tokens->num_words++;
    tokens->slots[place] = (Slot){head, tag, id};
    if (!append(&tokens->words, bytes, size) || !append_int32(&tokens->offsets, (int32_t)tokens->words.size)) return 0;
    if (tokens->num_words * 2 > tokens->num_slots && !grow_slots(tokens)) return 0;
    return append_int32(&tokens->indices, id);
}

/* Bytes from `at` on that make up the mark, those that vanish among them included; 0 when it is not there. */
static size_t mark_at(const Rules *rules, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *place = at;
    for (size_t i = 0; i < rules->mark_size; i++) {
        while (i && place < end && rules->classes[*place] == DROP) place++;
        if (place == end || rules->lower[*place] != rules->mark[i]) return 0;
        place++;
    }
    return (size_t)(place - at);
}

static size_t wide_at(const Rules *rules, const uint8_t *at, const uint8_t *end)
{
    for (size_t i = 0; i < rules->wide_size; i += 1 + rules->wide[i]) {
        size_t size = rules->wide[i];
        if (size <= (size_t)(end - at) && !memcmp(at, rules->wide + i + 1, size)) return size;
    }
    return 0;
}

/* ---- a text cut into tokens ---- */

enum { IS_WORD = 1, IS_SINGLE = 2, IS_SPECIAL = 4, IS_KEPT = 8 };

typedef struct {
    Buffer bytes;        /* of one text: lower case, nothing dropped is left; `SLACK` bytes behind the last may be read */
    Buffer kinds;        /* `IS_WORD`, `IS_SINGLE` or neither for each */
    Buffer starts, ends; /* uint32 each, of every token */
    size_t count;        /* tokens */
} Cut;

static void free_cut(Cut *cut)
{
    free(cut->bytes.data);
    free(cut->kinds.data);
    free(cut->starts.data);
    free(cut->ends.data);
}

static void set_flags(Rules *rules)
{
    for (int i = 0; i < 256; i++) {
        uint8_t class = rules->classes[i];
        uint8_t flags = class == WORD || class == LEAD ? IS_WORD : class == SINGLE ? IS_SINGLE : 0;
        if (class != DROP) flags |= IS_KEPT;
        if (class == LEAD || (rules->mark_size && rules->lower[i] == rules->mark[0])) flags |= IS_SPECIAL;
        rules->flags[i] = flags;
    }
}

/* Lower-cases a text, drops what is to be dropped, and says what each byte left is. Gives the number of these. */
static size_t clean(const Rules *rules, const uint8_t *at, const uint8_t *end, uint8_t *bytes, uint8_t *kinds)
{
    size_t size = 0;
    while (at < end) {
        uint8_t byte = *at, flags = rules->flags[byte];
        if (flags & IS_SPECIAL) {
            size_t skip = 0;
            if (rules->mark_size && rules->lower[byte] == rules->mark[0]) skip = mark_at(rules, at, end);
            if (rules->classes[byte] == LEAD) skip = wide_at(rules, at, end);
            if (skip) {
                kinds[size++] = 0;
                at += skip;
                continue;
            }
        }
        bytes[size] = rules->lower[byte];
        kinds[size] = flags;
        size += flags / IS_KEPT;
        at++;
    }
    return size;
}

/* Of 64 bytes, one bit each: bit `shift` of the byte. */
static uint64_t bits_of(const uint8_t *bytes, unsigned shift)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t part = eight_bytes(bytes + 8 * i);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        part = __builtin_bswap64(part);
#endif
        part = part >> shift & UINT64_C(0x0101010101010101);
        bits |= (part * UINT64_C(0x0102040810204080) >> 56) << 8 * i;
    }
    return bits;
}

static uint32_t *put_places(uint64_t bits, size_t base, uint32_t *out)
{
    for (; bits; bits &= bits - 1) *out++ = (uint32_t)(base + (size_t)__builtin_ctzll(bits));
    return out;
}

/* Finds the tokens of a text. There are no two ends at one place, and the ends are in the order of the starts. */
static int cut_text(Cut *cut, const Rules *rules, const uint8_t *at, const uint8_t *end)
{
    enum { BLOCK = 64 };
    size_t most = (size_t)(end - at);
    cut->bytes.size = cut->kinds.size = cut->starts.size = cut->ends.size = 0;
    if (!reserve(&cut->bytes, most + SLACK) || !reserve(&cut->kinds, most + 2 * BLOCK) ||
        !reserve(&cut->starts, (most + 1) * sizeof(uint32_t)) || !reserve(&cut->ends, (most + 1) * sizeof(uint32_t)))
        return 0;
    uint8_t *kinds = cut->kinds.data;
    size_t size = clean(rules, at, end, cut->bytes.data, kinds);
    memset(kinds + size, 0, 2 * BLOCK);
    uint32_t *starts = (uint32_t *)cut->starts.data, *ends = (uint32_t *)cut->ends.data;
    uint32_t *start = starts, *finish = ends;
    uint64_t was_word = 0, was_single = 0; /* the byte before the block */
    for (size_t base = 0; base <= size; base += BLOCK) {
        uint64_t word = bits_of(kinds + base, 0), single = bits_of(kinds + base, 1);
        uint64_t after_word = word << 1 | was_word, after_single = single << 1 | was_single;
        start = put_places((word & ~after_word) | single, base, start);
        finish = put_places((~word & after_word) | after_single, base, finish);
        was_word = word >> 63;
        was_single = single >> 63;
    }
    cut->count = (size_t)(start - starts);
    return 1;
}

static int split_all(Tokens *tokens, const Rules *rules, const uint8_t *data, const int32_t *bounds, size_t rows, Buffer *ends)
{
    Cut cut = {0};
    int whole = append_int32(&tokens->offsets, 0) && append_int32(ends, 0);
    for (size_t row = 0; row < rows && whole; row++) {
        whole = cut_text(&cut, rules, data + bounds[row], data + bounds[row + 1]);
        const uint32_t *starts = (const uint32_t *)cut.starts.data, *finishes = (const uint32_t *)cut.ends.data;
        for (size_t i = 0; whole && i < cut.count; i++)
            whole = emit(tokens, cut.bytes.data + starts[i], finishes[i] - starts[i]);
        whole = whole && append_int32(ends, (int32_t)(tokens->indices.size / sizeof(int32_t)));
    }
    free_cut(&cut);
    return whole;
}

PyDoc_STRVAR(split_doc,
    "split(data, bounds, classes, lower, mark, wide) -> (words, word_bounds, indices, row_bounds)\n\n"
    "Splits the texts data[bounds[i]:bounds[i + 1]] (UTF-8; bounds: int32) into tokens. Gives the distinct tokens side by\n"
    "side in the order of their first occurrence, int32 bounds of each, the int32 index of every token, and the int32\n"
    "bounds of each text's tokens.");

/* The arguments of both functions that cut texts. */
typedef struct {
    Py_buffer data, bounds, classes, lower, mark, wide;
} Texts;

static void release_texts(Texts *texts)
{
    PyBuffer_Release(&texts->data);
    PyBuffer_Release(&texts->bounds);
    PyBuffer_Release(&texts->classes);
    PyBuffer_Release(&texts->lower);
    PyBuffer_Release(&texts->mark);
    PyBuffer_Release(&texts->wide);
}

/* The rules, and in `rows` the number of texts; 0 and an error set where the arguments are not what they should be. */
static int read_texts(const Texts *texts, Rules *rules, size_t *rows)
{
    const int32_t *edges = texts->bounds.buf;
    *rows = (size_t)texts->bounds.len / sizeof(int32_t) - 1;
    if (texts->classes.len != 256 || texts->lower.len != 256 || texts->bounds.len < (Py_ssize_t)sizeof(int32_t) ||
        edges[*rows] > texts->data.len) {
        PyErr_SetString(PyExc_ValueError, "tables of 256 bytes and bounds within the data are needed");
        return 0;
    }
    *rules = (Rules){texts->classes.buf, texts->lower.buf, texts->mark.buf, (size_t)texts->mark.len,
                     texts->wide.buf,    (size_t)texts->wide.len, {0}};
    set_flags(rules);
    return 1;
}

static PyObject *split(PyObject *module, PyObject *arguments)
{
    (void)module;
    Texts texts;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*", &texts.data, &texts.bounds, &texts.classes, &texts.lower, &texts.mark,
                          &texts.wide))
        return NULL;
    PyObject *result = NULL;
    Tokens tokens = {0};
    Buffer ends = {0};
    Rules rules;
    size_t rows;
    if (read_texts(&texts, &rules, &rows)) {
        int whole;
        Py_BEGIN_ALLOW_THREADS
        tokens.num_slots = 1024;
        tokens.slots = empty_slots(tokens.num_slots);
        whole = tokens.slots && split_all(&tokens, &rules, texts.data.buf, texts.bounds.buf, rows, &ends);
        Py_END_ALLOW_THREADS
        if (whole)
            result = Py_BuildValue("(NNNN)", to_bytes(&tokens.words), to_bytes(&tokens.offsets), to_bytes(&tokens.indices),
                                   to_bytes(&ends));
        else
            PyErr_NoMemory();
    }
    free(tokens.words.data);
    free(tokens.offsets.data);
    free(tokens.indices.data);
    free(tokens.slots);
    free(ends.data);
    release_texts(&texts);
    return result;
}

/* ---- the ids of tokens ---- */

PyDoc_STRVAR(word_slots_doc,
    "word_slots(words, word_bounds) -> slots\n\n"
    "A hash table of distinct words (side by side, with int32 bounds), for `encode` in the same process.");

static PyObject *word_slots(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer words, bounds;
    if (!PyArg_ParseTuple(arguments, "y*y*", &words, &bounds)) return NULL;
    PyObject *result = NULL;
    const int32_t *edges = bounds.buf;
    size_t count = (size_t)bounds.len / sizeof(int32_t) - 1, num_slots = 1024;
    if (bounds.len < (Py_ssize_t)sizeof(int32_t) || edges[count] > words.len) {
        PyErr_SetString(PyExc_ValueError, "word_slots: bounds within the words are needed");
    } else {
        while (num_slots < 4 * count) num_slots *= 2; /* a word that is not there meets an empty slot soon */
        Slot *slots = empty_slots(num_slots);
        Buffer word = {0};
        int whole = slots != NULL;
        for (size_t i = 0; whole && i < count; i++) {
            const uint8_t *bytes = (const uint8_t *)words.buf + edges[i];
            size_t size = (size_t)(edges[i + 1] - edges[i]);
            word.size = 0;
            whole = reserve(&word, size + SLACK);
            if (!whole) break;
            memcpy(word.data, bytes, size);
            uint64_t head = some_bytes(word.data, size);
            uint32_t tag = tag_of(head, word.data, size);
            size_t place = place_of(slots, num_slots, words.buf, edges, head, tag, word.data, size);
            if (slots[place].id < 0) slots[place] = (Slot){head, tag, (int32_t)i};
        }
        result = whole ? PyBytes_FromStringAndSize((const char *)slots, (Py_ssize_t)(num_slots * sizeof *slots))
                       : PyErr_NoMemory();
        free(word.data);
        free(slots);
    }
    PyBuffer_Release(&words);
    PyBuffer_Release(&bounds);
    return result;
}

typedef struct {
    const Slot *slots;
    size_t num_slots;
    const uint8_t *words;
    const int32_t *bounds;
    int32_t first, unknown; /* the id of the first word, and of tokens that are no word */
} Dictionary;

/* Appends the ids of each text's tokens, the end of each text, and how many of its tokens are unknown. */
static int encode_all(const Dictionary *dictionary, const Rules *rules, const uint8_t *data, const int32_t *bounds,
                      size_t rows, Buffer *ids, Buffer *ends, Buffer *unknown)
{
    Cut cut = {0};
    int whole = append_int32(ends, 0);
    for (size_t row = 0; row < rows && whole; row++) {
        whole = cut_text(&cut, rules, data + bounds[row], data + bounds[row + 1]) &&
                reserve(ids, cut.count * sizeof(int32_t));
        if (!whole) break;
        const uint32_t *starts = (const uint32_t *)cut.starts.data, *finishes = (const uint32_t *)cut.ends.data;
        int32_t *out = (int32_t *)(ids->data + ids->size), missing = 0;
        for (size_t i = 0; i < cut.count; i++) {
            const uint8_t *bytes = cut.bytes.data + starts[i];
            size_t size = finishes[i] - starts[i];
            uint64_t head = some_bytes(bytes, size);
            size_t place = place_of(dictionary->slots, dictionary->num_slots, dictionary->words, dictionary->bounds, head,
                                    tag_of(head, bytes, size), bytes, size);
            int32_t id = dictionary->slots[place].id;
            missing += id < 0;
            out[i] = id < 0 ? dictionary->unknown : dictionary->first + id;
        }
        ids->size += cut.count * sizeof(int32_t);
        whole = append_int32(ends, (int32_t)(ids->size / sizeof(int32_t))) && append_int32(unknown, missing);
    }
    free_cut(&cut);
    return whole;
}

PyDoc_STRVAR(encode_doc,
    "encode(data, bounds, classes, lower, mark, wide, words, word_bounds, slots, first, unknown)\n"
    "-> (ids, row_bounds, unknown_counts)\n\n"
    "Splits texts as `split` does, and gives the int32 id of every token: `first` + i for the i-th word, `unknown` for\n"
    "others; the int32 bounds of each text's tokens, and how many of them are unknown. `slots` is of `word_slots`.");

static PyObject *encode(PyObject *module, PyObject *arguments)
{
    (void)module;
    Texts texts;
    Py_buffer words, word_bounds, slots;
    int first, unknown;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*y*y*y*ii", &texts.data, &texts.bounds, &texts.classes, &texts.lower,
                          &texts.mark, &texts.wide, &words, &word_bounds, &slots, &first, &unknown))
        return NULL;
    PyObject *result = NULL;
    Buffer ids = {0}, ends = {0}, missing = {0};
    Rules rules;
    size_t rows, num_slots = (size_t)slots.len / sizeof(Slot);
    if (read_texts(&texts, &rules, &rows)) {
        if (!num_slots || (num_slots & (num_slots - 1))) {
            PyErr_SetString(PyExc_ValueError, "encode: the slots that word_slots gives are needed");
        } else {
            Dictionary dictionary = {slots.buf, num_slots, words.buf, word_bounds.buf, first, unknown};
            int whole;
            Py_BEGIN_ALLOW_THREADS
            whole = encode_all(&dictionary, &rules, texts.data.buf, texts.bounds.buf, rows, &ids, &ends, &missing);
            Py_END_ALLOW_THREADS
            if (whole)
                result = Py_BuildValue("(NNN)", to_bytes(&ids), to_bytes(&ends), to_bytes(&missing));
            else
                PyErr_NoMemory();
        }
    }
    free(ids.data);
    free(ends.data);
    free(missing.data);
    PyBuffer_Release(&words);
    PyBuffer_Release(&word_bounds);
    PyBuffer_Release(&slots);
    release_texts(&texts);
    return result;
}

/* ---- n-grams ---- */

enum { MAX_NGRAMS = 16 };

/* Appends the distinct buckets of one review and where each first occurs; `seen` has room for twice its n-grams. */
static int hash_review(const int32_t *ids, size_t tokens, size_t ngrams, unsigned bits, Buffer *buckets, Buffer *ends,
                       Buffer *seen)
{
    size_t slots = 16;
    while (slots < 2 * ngrams * tokens) slots *= 2;
    seen->size = 0;
    if (!reserve(seen, slots * sizeof(int32_t)) || !reserve(buckets, ngrams * tokens * sizeof(int32_t)) ||
        !reserve(ends, ngrams * tokens * sizeof(int32_t)))
        return 0;
    int32_t *table = (int32_t *)seen->data;
    memset(table, 0xFF, slots * sizeof *table);
    int32_t *bucket_out = (int32_t *)(buckets->data + buckets->size), *end_out = (int32_t *)(ends->data + ends->size);
    size_t count = 0;
    uint64_t before[MAX_NGRAMS + 1] = {0}; /* hashes of the n-grams that end one token earlier */
    for (size_t at = 0; at < tokens; at++) {
        size_t longest = at + 1 < ngrams ? at + 1 : ngrams;
        /* The longest first: each needs the shorter one of the token before. */
        for (size_t n = longest; n > 0; n--) {
            before[n] = mixed(n > 1 ? before[n - 1] : NGRAM_SEED, (uint64_t)(uint32_t)ids[at]);
            int32_t bucket = (int32_t)(before[n] * NGRAM_MULTIPLIER >> (64 - bits));
            size_t place = (uint32_t)bucket & (slots - 1);
            while (table[place] >= 0 && table[place] != bucket) place = (place + 1) & (slots - 1);
            if (table[place] == bucket) continue;
            table[place] = bucket;
            bucket_out[count] = bucket;
            end_out[count++] = (int32_t)at;
        }
    }
    buckets->size += count * sizeof(int32_t);
    ends->size += count * sizeof(int32_t);
    return 1;
}

static int hash_reviews(const int32_t *ids, const int64_t *starts, const int64_t *lengths, size_t rows, size_t ngrams,
                        unsigned bits, Buffer *buckets, Buffer *ends, Buffer *bounds)
{
    Buffer seen = {0};
    int64_t bound = 0;
    int whole = append(bounds, &bound, sizeof bound);
    for (size_t row = 0; row < rows && whole; row++) {
        whole = hash_review(ids + starts[row], (size_t)lengths[row], ngrams, bits, buckets, ends, &seen);
        bound = (int64_t)(buckets->size / sizeof(int32_t));
        whole = whole && append(bounds, &bound, sizeof bound);
    }
    free(seen.data);
    return whole;
}

/* Sums the weights (buckets, columns) of each review's distinct buckets, in double precision. */
static int sum_reviews(const int32_t *ids, const int64_t *starts, const int64_t *lengths, size_t rows, size_t ngrams,
                       unsigned bits, const float *weights, size_t columns, double *totals, float *sums)
{
    Buffer seen = {0}, buckets = {0}, ends = {0};
    int whole = 1;
    for (size_t row = 0; row < rows && whole; row++, sums += columns) {
        buckets.size = ends.size = 0;
        whole = hash_review(ids + starts[row], (size_t)lengths[row], ngrams, bits, &buckets, &ends, &seen);
        const int32_t *found = (const int32_t *)buckets.data;
        size_t count = buckets.size / sizeof(int32_t);
        if (columns == 1) {
            double total = 0;
            for (size_t i = 0; i < count; i++) total += weights[found[i]];
            *sums = (float)total;
            continue;
        }
        memset(totals, 0, columns * sizeof *totals);
        for (size_t i = 0; i < count; i++)
            for (size_t c = 0; c < columns; c++) totals[c] += weights[(size_t)found[i] * columns + c];
        for (size_t c = 0; c < columns; c++) sums[c] = (float)totals[c];
    }
    free(seen.data);
    free(buckets.data);
    free(ends.data);
    return whole;
}

static int within(const int64_t *starts, const int64_t *lengths, size_t rows, int64_t tokens)
{
    for (size_t row = 0; row < rows; row++)
        if (starts[row] < 0 || lengths[row] < 0 || lengths[row] > INT32_MAX / MAX_NGRAMS || starts[row] > tokens ||
            lengths[row] > tokens - starts[row])
            return 0;
    return 1;
}

PyDoc_STRVAR(ngram_buckets_doc,
    "ngram_buckets(ids, starts, lengths, ngrams, bits) -> (buckets, ends, bounds)\n\n"
    "Hashes the 1- to n-grams of the reviews ids[starts[i]:starts[i] + lengths[i]] (ids: int32, the others int64) into\n"
    "2**bits buckets. Gives the distinct buckets of each review in the order of their first occurrence, the place in the\n"
    "review of the token with which it ends (both int32), and the int64 bounds of each review's buckets.");

static PyObject *ngram_buckets(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer ids, starts, lengths;
    int ngrams, bits;
    if (!PyArg_ParseTuple(arguments, "y*y*y*ii", &ids, &starts, &lengths, &ngrams, &bits)) return NULL;
    PyObject *result = NULL;
    Buffer buckets = {0}, ends = {0}, bounds = {0};
    size_t rows = (size_t)starts.len / sizeof(int64_t);
    if (ngrams < 1 || ngrams > MAX_NGRAMS || bits < 1 || bits > 31 || lengths.len != starts.len ||
        !within(starts.buf, lengths.buf, rows, ids.len / (Py_ssize_t)sizeof(int32_t))) {
        PyErr_SetString(PyExc_ValueError, "ngram_buckets: 1 to 16 n-grams, 1 to 31 bits and reviews within ids are needed");
    } else {
        int whole;
        Py_BEGIN_ALLOW_THREADS
        whole = hash_reviews(ids.buf, starts.buf, lengths.buf, rows, (size_t)ngrams, (unsigned)bits, &buckets, &ends, &bounds);
        Py_END_ALLOW_THREADS
        if (whole)
            result = Py_BuildValue("(NNN)", to_bytes(&buckets), to_bytes(&ends), to_bytes(&bounds));
        else
            PyErr_NoMemory();
    }
    free(buckets.data);
    free(ends.data);
    free(bounds.data);
    PyBuffer_Release(&ids);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&lengths);
    return result;
}

PyDoc_STRVAR(ngram_sums_doc,
    "ngram_sums(ids, starts, lengths, ngrams, bits, weights, sums)\n\n"
    "Hashes as `ngram_buckets` does, and writes into `sums`, float32 (reviews, C), the sum of the weights, float32 (2**bits,\n"
    "C), of each review's distinct buckets.");

static PyObject *ngram_sums(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer ids, starts, lengths, weights, sums;
    int ngrams, bits;
    if (!PyArg_ParseTuple(arguments, "y*y*y*iiy*w*", &ids, &starts, &lengths, &ngrams, &bits, &weights, &sums)) return NULL;
    PyObject *result = NULL;
    size_t rows = (size_t)starts.len / sizeof(int64_t);
    int known = ngrams >= 1 && ngrams <= MAX_NGRAMS && bits >= 1 && bits <= 31 && lengths.len == starts.len;
    size_t columns = known ? (size_t)weights.len / sizeof(float) >> bits : 0;
    if (!columns || (size_t)weights.len != columns * sizeof(float) << bits || (size_t)sums.len != rows * columns * sizeof(float) ||
        !within(starts.buf, lengths.buf, rows, ids.len / (Py_ssize_t)sizeof(int32_t))) {
        PyErr_SetString(PyExc_ValueError, "ngram_sums: 1 to 16 n-grams, weights of 1 to 31 bits, and reviews within ids are needed");
    } else {
        double *totals = malloc(columns * sizeof *totals);
        int whole;
        Py_BEGIN_ALLOW_THREADS
        whole = totals && sum_reviews(ids.buf, starts.buf, lengths.buf, rows, (size_t)ngrams, (unsigned)bits, weights.buf,
                                      columns, totals, sums.buf);
        Py_END_ALLOW_THREADS
        free(totals);
        if (whole) {
            result = Py_None;
            Py_INCREF(result);
        } else {
            PyErr_NoMemory();
        }
    }
    PyBuffer_Release(&ids);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&weights);
    PyBuffer_Release(&sums);
    return result;
}

/* ---- bags of words and n-grams ---- */

enum { BAG_MULTIPLIER = 116049371, BAG_PRIME = 0x7FFFFFFF }; /* of models/bag.py */

typedef struct {
    size_t ngrams, words, buckets, columns;
    const float *table; /* (words + buckets, columns): of each word, then of each bucket of n-grams */
} Bag;

/* Sums the rows of the table of all words and n-grams of a review; 0 where a word is not in it. */
static int sum_bag(const Bag *bag, const int32_t *ids, size_t tokens, double *totals, uint32_t *before)
{
    size_t columns = bag->columns;
    memset(totals, 0, columns * sizeof *totals);
    for (size_t at = 0; at < tokens; at++) {
        uint32_t word = (uint32_t)ids[at];
        if (word >= bag->words) return 0;
        for (size_t c = 0; c < columns; c++) totals[c] += bag->table[word * columns + c];
        size_t longest = at + 1 < bag->ngrams ? at + 1 : bag->ngrams;
        /* The longest first: each needs the shorter one of the token before. */
        for (size_t n = longest; n > 1; n--) {
            before[n] = (uint32_t)(((uint64_t)before[n - 1] * BAG_MULTIPLIER + word) % BAG_PRIME);
            size_t row = bag->words + before[n] % (uint32_t)(bag->buckets - 1) + 1;
            for (size_t c = 0; c < columns; c++) totals[c] += bag->table[row * columns + c];
        }
        before[1] = word;
    }
    return 1;
}

PyDoc_STRVAR(bag_sums_doc,
    "bag_sums(ids, starts, lengths, ngrams, words, table, sums)\n\n"
    "Writes into `sums`, float32 (reviews, C), the sum over each review's words and hashed n-grams (see models/bag.py) of\n"
    "the rows of `table`, float32 (words + buckets, C); buckets may be none where ngrams is 1.\n\n"
    "Raises ValueError for an id that is not among the words.");

static PyObject *bag_sums(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer ids, starts, lengths, table, sums;
    int ngrams;
    Py_ssize_t words;
    if (!PyArg_ParseTuple(arguments, "y*y*y*iny*w*", &ids, &starts, &lengths, &ngrams, &words, &table, &sums)) return NULL;
    size_t rows = (size_t)starts.len / sizeof(int64_t);
    size_t columns = rows ? (size_t)sums.len / sizeof(float) / rows : 1;
    size_t height = columns ? (size_t)table.len / sizeof(float) / columns : 0;
    int whole = 0, known = ngrams >= 1 && lengths.len == starts.len && columns && words > 0 && height >= (size_t)words &&
                           (ngrams == 1 || height - (size_t)words > 1) &&
                           within(starts.buf, lengths.buf, rows, ids.len / (Py_ssize_t)sizeof(int32_t));
    double *totals = known ? malloc(columns * sizeof *totals) : NULL;
    uint32_t *before = known ? malloc(((size_t)ngrams + 1) * sizeof *before) : NULL;
    int allocated = totals && before;
    if (allocated) {
        Bag bag = {(size_t)ngrams, (size_t)words, height - (size_t)words, columns, table.buf};
        const int64_t *start = starts.buf, *length = lengths.buf;
        float *out = sums.buf;
        whole = 1;
        Py_BEGIN_ALLOW_THREADS
        for (size_t row = 0; row < rows && whole; row++) {
            whole = sum_bag(&bag, (const int32_t *)ids.buf + start[row], (size_t)length[row], totals, before);
            for (size_t c = 0; c < columns; c++) *out++ = (float)totals[c];
        }
        Py_END_ALLOW_THREADS
    }
    free(totals);
    free(before);
    PyBuffer_Release(&ids);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&table);
    PyBuffer_Release(&sums);
    if (known && !allocated) return PyErr_NoMemory();
    if (!whole) {
        PyErr_SetString(PyExc_ValueError, "bag_sums: reviews within ids, and ids within the words of the table are needed");
        return NULL;
    }
    Py_INCREF(Py_None);
    return Py_None;
}

/* ---- padded batches ---- */

PyDoc_STRVAR(pad_doc,
    "pad(values, starts, lengths, positions, padded)\n\n"
    "Writes the rows values[starts[i]:starts[i] + lengths[i]] (int32, the others int64), filled up with zeros, into\n"
    "`padded`, int32 (rows, positions).");

static PyObject *pad(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer values, starts, lengths, padded;
    Py_ssize_t positions;
    if (!PyArg_ParseTuple(arguments, "y*y*y*nw*", &values, &starts, &lengths, &positions, &padded)) return NULL;
    PyObject *result = NULL;
    size_t rows = (size_t)starts.len / sizeof(int64_t);
    const int64_t *start = starts.buf, *length = lengths.buf;
    int fits = positions >= 0 && lengths.len == starts.len && (size_t)padded.len == rows * (size_t)positions * sizeof(int32_t) &&
               within(start, length, rows, values.len / (Py_ssize_t)sizeof(int32_t));
    for (size_t row = 0; fits && row < rows; row++) fits = length[row] <= positions;
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "pad: rows within the values, and no longer than the padded ones, are needed");
    } else {
        Py_BEGIN_ALLOW_THREADS
        int32_t *out = padded.buf;
        for (size_t row = 0; row < rows; row++, out += positions) {
            size_t size = (size_t)length[row];
            memcpy(out, (const int32_t *)values.buf + start[row], size * sizeof *out);
            memset(out + size, 0, ((size_t)positions - size) * sizeof *out);
        }
        Py_END_ALLOW_THREADS
        result = Py_None;
        Py_INCREF(result);
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&padded);
    return result;
}

/* ---- batches without padding ---- */

PyDoc_STRVAR(join_doc,
    "join(values, starts, lengths, tokens)\n\n"
    "Writes the rows values[starts[i]:starts[i] + lengths[i]] (int32, the others int64) side by side into `tokens`, int64.");

static PyObject *join(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer values, starts, lengths, tokens;
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*", &values, &starts, &lengths, &tokens)) return NULL;
    PyObject *result = NULL;
    size_t rows = (size_t)starts.len / sizeof(int64_t), total = 0;
    const int64_t *start = starts.buf, *length = lengths.buf;
    int fits = lengths.len == starts.len && within(start, length, rows, values.len / (Py_ssize_t)sizeof(int32_t));
    for (size_t row = 0; fits && row < rows; row++) total += (size_t)length[row];
    if (!fits || (size_t)tokens.len != total * sizeof(int64_t)) {
        PyErr_SetString(PyExc_ValueError, "join: rows within the values, and room for all of their tokens, are needed");
    } else {
        Py_BEGIN_ALLOW_THREADS
        int64_t *out = tokens.buf;
        for (size_t row = 0; row < rows; row++) {
            const int32_t *from = (const int32_t *)values.buf + start[row];
            for (int64_t i = 0; i < length[row]; i++) *out++ = from[i];
        }
        Py_END_ALLOW_THREADS
        result = Py_None;
        Py_INCREF(result);
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&tokens);
    return result;
}

/* The tokens by position, then by row. `begins`: where each position begins among them. */
static void pack_rows(const int32_t *values, const int64_t *starts, const int64_t *lengths, const int64_t *counts,
                      size_t positions, int64_t *begins, int32_t *tokens, int32_t *mirrored)
{
    int64_t begin = 0;
    for (size_t at = 0; at < positions; at++) {
        begins[at] = begin;
        begin += counts[at];
    }
    for (size_t at = 0; at < positions; at++) {
        for (int64_t row = 0; row < counts[at]; row++) tokens[begins[at] + row] = values[starts[row] + (int64_t)at];
        for (int64_t row = 0; mirrored && row < counts[at]; row++)
            mirrored[begins[at] + row] = (int32_t)(begins[lengths[row] - 1 - (int64_t)at] + row);
    }
}

PyDoc_STRVAR(pack_doc,
    "pack(values, starts, lengths, counts, tokens, mirrored)\n\n"
    "Packs the rows values[starts[i]:starts[i] + lengths[i]] (int32, the others int64; the longest first, none empty).\n"
    "Writes how many rows have a token at each position, int64; the tokens of position 0, then those of position 1, …, int32;\n"
    "and, unless `mirrored` is empty, where the token stands that a reader from the end of the row meets there, int32.");

static PyObject *pack(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer values, starts, lengths, counts, tokens, mirrored;
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*w*w*", &values, &starts, &lengths, &counts, &tokens, &mirrored)) return NULL;
    PyObject *result = NULL;
    size_t rows = (size_t)starts.len / sizeof(int64_t), positions = (size_t)counts.len / sizeof(int64_t), total = 0;
    const int64_t *start = starts.buf, *length = lengths.buf;
    int64_t *count = counts.buf, *begins = NULL;
    int fits = lengths.len == starts.len && rows && within(start, length, rows, values.len / (Py_ssize_t)sizeof(int32_t)) &&
               length[0] == (int64_t)positions && length[rows - 1] > 0;
    for (size_t row = 0; fits && row < rows; row++) {
        total += (size_t)length[row];
        fits = !row || length[row] <= length[row - 1];
    }
    fits = fits && total <= INT32_MAX && (size_t)tokens.len == total * sizeof(int32_t) &&
           (!mirrored.len || mirrored.len == tokens.len);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "pack: rows within the values, the longest first, and room for all tokens are needed");
    } else if (!(begins = malloc(positions * sizeof *begins))) {
        PyErr_NoMemory();
    } else {
        Py_BEGIN_ALLOW_THREADS
        for (size_t row = rows, at = 0; row > 0; row--)
            for (; at < (size_t)length[row - 1]; at++) count[at] = (int64_t)row;
        pack_rows(values.buf, start, length, count, positions, begins, tokens.buf, mirrored.len ? mirrored.buf : NULL);
        Py_END_ALLOW_THREADS
        result = Py_None;
        Py_INCREF(result);
    }
    free(begins);
    PyBuffer_Release(&values);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&tokens);
    PyBuffer_Release(&mirrored);
    return result;
}

/* ---- CSV ---- */

typedef struct {
    const uint8_t *data, *end;
    uint8_t delimiter;
    int quote; /* -1 where nothing is quoted */
    int64_t limit;
} Csv;

typedef struct {
    int64_t start, stop, after; /* bytes: where it begins, where its content ends, where the next one begins */
    int64_t columns, inner;     /* fields, none on a blank line, and line ends in quotes */
} Record;

enum { COMPLETE, INCOMPLETE, FAULTY };
enum { SCAN_STEP = 32 }; /* bytes that the compiler compares together */

static int ends_field(uint8_t byte, uint8_t delimiter)
{
    return (byte == delimiter) | (byte == '\n') | (byte == '\r');
}

/* The first delimiter or line end; `end` where there is none. */
static const uint8_t *field_end(const uint8_t *at, const uint8_t *end, uint8_t delimiter)
{
    for (; end - at >= SCAN_STEP; at += SCAN_STEP) {
        uint8_t found = 0;
        for (size_t i = 0; i < SCAN_STEP; i++) found |= (uint8_t)ends_field(at[i], delimiter);
        if (found) break;
    }
    while (at < end && !ends_field(*at, delimiter)) at++;
    return at;
}

/* The quotation mark that closes the field whose text begins at `at`; NULL where there is none. */
static const uint8_t *closing_quote(const uint8_t *at, const uint8_t *end, int quote)
{
    while ((at = memchr(at, quote, (size_t)(end - at))) && at + 1 < end && at[1] == quote) at += 2;
    return at;
}

static int64_t count_line_ends(const uint8_t *begin, const uint8_t *end)
{
    int64_t count = 0;
    const uint8_t *at = begin;
    for (; (at = memchr(at, '\n', (size_t)(end - at))); at++) count++;
    for (at = begin; (at = memchr(at, '\r', (size_t)(end - at))); at++) count += at + 1 == end || at[1] != '\n';
    return count;
}

static int read_record(const Csv *csv, const uint8_t *at, Record *record)
{
    *record = (Record){.start = at - csv->data, .columns = 1};
    for (;; at++, record->columns++) {
        if (at < csv->end && *at == csv->quote) {
            const uint8_t *close = closing_quote(at + 1, csv->end, csv->quote);
            if (!close) return INCOMPLETE;
            record->inner += count_line_ends(at + 1, close);
            at = close + 1;
            if (at < csv->end && !ends_field(*at, csv->delimiter)) return FAULTY;
        } else {
            at = field_end(at, csv->end, csv->delimiter);
        }
        if (at == csv->end) return INCOMPLETE;
        if (*at != csv->delimiter) break;
    }
    record->stop = at - csv->data;
    if (*at == '\r') {
        if (at + 1 == csv->end) return INCOMPLETE; /* it may be half of a CRLF */
        at += at[1] == '\n';
    }
    record->after = at + 1 - csv->data;
    if (record->stop == record->start) record->columns = 0;
    return record->stop - record->start > csv->limit ? FAULTY : COMPLETE;
}

/* Appends the records before the first that is not complete or has a fault, and gives what it is; -1 without memory. */
static int read_records(const Csv *csv, Buffer *records)
{
    Record record;
    const uint8_t *at = csv->data;
    int state;
    while ((state = read_record(csv, at, &record)) == COMPLETE) {
        if (!append(records, &record, sizeof record)) return -1;
        at = csv->data + record.after;
    }
    return state;
}

PyDoc_STRVAR(csv_records_doc,
    "csv_records(data, delimiter, quote, limit) -> (records, sound)\n\n"
    "Finds the records of a CSV that begins with one, up to the first that has a fault of quoting, is longer than `limit`\n"
    "bytes, or is not complete. Delimiter and quote are bytes as numbers, -1 for no quote. Gives int64 (R, 5): where each\n"
    "begins, where its content ends, where the next one begins, its fields (0 on a blank line), its line ends in quotes;\n"
    "and whether nothing but the end of the data stopped it.");

static PyObject *csv_records(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer data;
    int delimiter, quote;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(arguments, "y*iin", &data, &delimiter, &quote, &limit)) return NULL;
    Buffer records = {0};
    const uint8_t *begin = data.buf;
    Csv csv = {begin, begin + data.len, (uint8_t)delimiter, quote, limit};
    int state;
    Py_BEGIN_ALLOW_THREADS
    state = read_records(&csv, &records);
    Py_END_ALLOW_THREADS
    PyObject *result = NULL;
    if (state < 0)
        PyErr_NoMemory();
    else
        result = Py_BuildValue("(NN)", to_bytes(&records), PyBool_FromLong(state == INCOMPLETE));
    free(records.data);
    PyBuffer_Release(&data);
    return result;
}

/* ---- files ---- */

/* Appends a file's content, at most `limit` bytes; 0 and errno when it cannot be read. */
static int read_file(int folder, const char *name, size_t limit, Buffer *data)
{
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    size_t got = 0, step = 1 << 14;
    ssize_t count = 1;
    while (count && got < limit) {
        size_t wanted = limit - got < step ? limit - got : step;
        if (!reserve(data, wanted)) {
            errno = ENOMEM;
            count = -1;
        } else {
            count = read(file, data->data + data->size, wanted);
        }
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) break;
        data->size += (size_t)count;
        got += (size_t)count;
        if (count < (ssize_t)wanted) break; /* a regular file gives less only at its end */
        step = 1 << 18;
    }
    int failed = count < 0 ? errno : 0;
    close(file);
    errno = failed;
    return !failed;
}

/* Appends the files of a folder whose names stand side by side, a NUL behind each, and where each ends; NULL when all could
   be read, else the name of one and errno. */
static const char *read_all(const char *folder, const char *name, const char *end, size_t limit, Buffer *data, Buffer *bounds)
{
    int opened = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (opened < 0) return "";
    int64_t bound = 0;
    int whole = append(bounds, &bound, sizeof bound);
    for (; whole && name < end; name += strlen(name) + 1) {
        if (!read_file(opened, name, limit, data)) break;
        bound = (int64_t)data->size;
        whole = append(bounds, &bound, sizeof bound);
    }
    int failed = whole ? errno : ENOMEM;
    close(opened);
    errno = failed;
    return whole && name >= end ? NULL : name;
}

PyDoc_STRVAR(read_files_doc,
    "read_files(folder, names, limit) -> (data, bounds)\n\n"
    "Reads files of a folder, at most `limit` bytes of each; their names stand side by side, a NUL behind each. Gives their\n"
    "contents side by side and the int64 bounds of each.\n\nRaises OSError with the name of a file that cannot be read.");

static PyObject *read_files(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *folder, *names, *result = NULL;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(arguments, "SSn", &folder, &names, &limit)) return NULL;
    const char *begin = PyBytes_AsString(names), *end = begin + PyBytes_Size(names), *failed;
    const char *place = PyBytes_AsString(folder);
    Buffer data = {0}, bounds = {0};
    int error;
    Py_BEGIN_ALLOW_THREADS
    failed = read_all(place, begin, end, (size_t)limit, &data, &bounds);
    error = errno;
    Py_END_ALLOW_THREADS
    if (!failed) {
        result = Py_BuildValue("(NN)", to_bytes(&data), to_bytes(&bounds));
    } else if (error == ENOMEM) {
        PyErr_NoMemory();
    } else {
        errno = error;
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, failed);
    }
    free(data.data);
    free(bounds.data);
    return result;
}

/* ---- names of many small files ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int ends_with(const char *name, const char *suffix)
{
    size_t size = strlen(name), tail = strlen(suffix);
    return size >= tail && !memcmp(name + size - tail, suffix, tail);
}

static char kind_of(unsigned char type)
{
    return type == DT_REG ? 'f' : type == DT_DIR ? 'd' : '?';
}

/* Appends the names in a folder, a NUL behind each, without those that begin with a dot or an underscore: files that end
   with `suffix` to `files`, all else, its kind before it, to `rest`. 0 with errno if that fails. */
static int list_names(const char *folder, const char *suffix, Buffer *files, Buffer *rest)
{
    DIR *opened = opendir(folder);
    if (!opened) return 0;
    int whole = 1;
    errno = 0;
    for (struct dirent *entry; whole && (entry = readdir(opened)); errno = 0) {
        const char *name = entry->d_name;
        if (name[0] == '.' || name[0] == '_') continue;
        char kind = kind_of(entry->d_type);
        int wanted = kind == 'f' && ends_with(name, suffix);
        whole = (wanted || append(rest, &kind, 1)) && append(wanted ? files : rest, name, strlen(name) + 1);
    }
    int failed = whole ? errno : ENOMEM;
    closedir(opened);
    errno = failed;
    return !failed;
}

/* The names as a new buffer, in the order of their bytes, slashes between them. */
static int sorted_names(const Buffer *names, Buffer *sorted)
{
    const char *begin = (const char *)names->data, *end = begin + names->size;
    size_t count = 0, at = 0;
    for (const char *name = begin; name < end; name += strlen(name) + 1) count++;
    if (!count) return 1;
    const char **places = malloc(count * sizeof *places);
    int whole = places && reserve(sorted, names->size);
    if (whole) {
        for (const char *name = begin; name < end; name += strlen(name) + 1) places[at++] = name;
        qsort(places, count, sizeof *places, compare_names);
        for (at = 0; at < count; at++) {
            append(sorted, places[at], strlen(places[at])); /* there is room for all */
            append(sorted, "/", 1);
        }
        sorted->size--;
    }
    free(places);
    return whole;
}

PyDoc_STRVAR(folder_names_doc,
    "folder_names(folder, suffix) -> (files, rest)\n\n"
    "The names in a folder that do not begin with a dot or an underscore: those of files that end with `suffix`, in the order\n"
    "of their bytes, slashes between them; and all others, a NUL behind each, their kind before it: f, d (a folder) or ?.\n\n"
    "Raises OSError if the folder cannot be read.");

static PyObject *folder_names(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *folder, *suffix, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "SS", &folder, &suffix)) return NULL;
    const char *place = PyBytes_AsString(folder), *tail = PyBytes_AsString(suffix);
    Buffer files = {0}, sorted = {0}, rest = {0};
    int whole, error;
    Py_BEGIN_ALLOW_THREADS
    whole = list_names(place, tail, &files, &rest);
    error = errno;
    if (whole && !sorted_names(&files, &sorted)) {
        whole = 0;
        error = ENOMEM;
    }
    Py_END_ALLOW_THREADS
    if (whole) {
        result = Py_BuildValue("(NN)", to_bytes(&sorted), to_bytes(&rest));
    } else if (error == ENOMEM) {
        PyErr_NoMemory();
    } else {
        errno = error;
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, place);
    }
    free(files.data);
    free(sorted.data);
    free(rest.data);
    return result;
}

static PyMethodDef methods[] = {
    {"split", split, METH_VARARGS, split_doc},
    {"read_files", read_files, METH_VARARGS, read_files_doc},
    {"folder_names", folder_names, METH_VARARGS, folder_names_doc},
    {"ngram_buckets", ngram_buckets, METH_VARARGS, ngram_buckets_doc},
    {"word_slots", word_slots, METH_VARARGS, word_slots_doc},
    {"encode", encode, METH_VARARGS, encode_doc},
    {"ngram_sums", ngram_sums, METH_VARARGS, ngram_sums_doc},
    {"bag_sums", bag_sums, METH_VARARGS, bag_sums_doc},
    {"pad", pad, METH_VARARGS, pad_doc},
    {"join", join, METH_VARARGS, join_doc},
    {"pack", pack, METH_VARARGS, pack_doc},
    {"csv_records", csv_records, METH_VARARGS, csv_records_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "Loops over bytes, outside of the global lock.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
