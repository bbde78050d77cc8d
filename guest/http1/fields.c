/* Fields: Content-Length and Transfer-Encoding, read as strictly as it takes to notice smuggling. */
#include "fields.h"

bool same_word(const uint8_t *at, uint32_t have, const char *word, uint32_t len)
{
    if (have != len)
        return false;
    for (uint32_t i = 0; i < len; ++i) {
        uint8_t c = at[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c != (uint8_t)word[i])
            return false;
    }
    return true;
}

/* The next element of a comma-separated list without the white space around it. False when there are no more. */
static bool next_element(const uint8_t **at, const uint8_t *end, const uint8_t **element, uint32_t *len)
{
    const uint8_t *p = *at, *q;
    if (p == NULL)
        return false;
    for (q = p; q != end && *q != ','; ++q)
        ;
    *at = q == end ? NULL : q + 1;
    while (p != q && is_blank(*p))
        ++p;
    while (p != q && is_blank(q[-1]))
        --q;
    *element = p;
    *len = (uint32_t)(q - p);
    return true;
}

void read_length(length_field *field, const uint8_t *value, uint32_t len)
{
    const uint8_t *at = value, *end = value + len, *element;
    uint32_t element_len;
    while (next_element(&at, end, &element, &element_len)) {
        uint64_t number = 0;
        if (element_len == 0)
            field->bad = true;
        for (uint32_t i = 0; i < element_len; ++i) {
            uint64_t digit = (uint64_t)element[i] - '0';
            if (digit > 9 || number > (INT64_MAX - digit) / 10) {
                field->bad = true;
                break;
            }
            number = number * 10 + digit;
        }
        if (field->values == 0)
            field->value = number;
        else if (field->value != number)
            field->conflict = true;
        ++field->values;
    }
}

/* The coding of an element, without parameters: no coding has any, so they are odd. */
static uint32_t coding_len(const uint8_t *element, uint32_t len)
{
    for (uint32_t i = 0; i < len; ++i)
        if (element[i] == ';') {
            while (i != 0 && is_blank(element[i - 1]))
                --i;
            return i;
        }
    return len;
}

/* "identity", which earlier HTTP/1.1 had, changes nothing. */
void read_codings(coding_field *field, const uint8_t *value, uint32_t len)
{
    const uint8_t *at = value, *end = value + len, *element;
    uint32_t element_len;
    if (field->lines++ != 0)
        field->odd = true;
    while (next_element(&at, end, &element, &element_len)) {
        uint32_t name_len = coding_len(element, element_len);
        bool chunked = same_word(element, name_len, "chunked", 7);
        if (name_len != element_len)
            field->odd = true;
        if (name_len == 0 || same_word(element, name_len, "identity", 8)) {
            field->odd = true;
            continue;
        }
        if (field->chunked) /* and another coding follows: chunked twice, or not last */
            field->odd = true;
        if (!chunked && !same_word(element, name_len, "gzip", 4) && !same_word(element, name_len, "deflate", 7) &&
            !same_word(element, name_len, "compress", 8))
            field->odd = true;
        field->chunked = chunked;
        ++field->codings;
    }
    if (field->codings == 0)
        field->odd = true;
}

/* Content-Length may not be continued; codings may, which is odd. */
void read_continued(announced *a, enum last last, const uint8_t *value, uint32_t len)
{
    a->flags |= PICO_F_OBS_FOLD;
    if (last == LAST_LENGTH)
        a->length.bad = true;
    if (last == LAST_CODING)
        read_codings(&a->codings, value, len);
}
