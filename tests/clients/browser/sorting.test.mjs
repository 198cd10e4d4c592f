// The comparator orders as the server does.

import assert from "node:assert/strict"
import { test } from "node:test"

import { compareRecords } from "../../../src/crudite/interfaces/browser/crudite.js"

/** The values in their order, begun from the reverse so that a comparator of zeros cannot pass. */
const sorted = (type, values, descending = false) =>
  values
    .toReversed()
    .map((value) => ({ value }))
    .sort(compareRecords([{ field: "value", descending, type }]))
    .map(({ value }) => value)

test("text sorts by code point, so that surrogate pairs come after every other character", () => {
  const values = ["", "B", "a", "aa", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{1f600}", "\u{1f600}a"]
  assert.deepEqual(sorted("text", values), values)
})

test("null and absent are the lowest value, first ascending and last descending", () => {
  assert.deepEqual(sorted("integer", [null, -5, 0]), [null, -5, 0])
  assert.deepEqual(sorted("integer", [0, -5, null], true), [0, -5, null])
  assert.equal(compareRecords([{ field: "due", type: "date" }])({ due: null }, {}), 0)
})

test("numbers sort as numbers", () => {
  assert.deepEqual(sorted("integer", [-10, -9, 2, 10]), [-10, -9, 2, 10])
  assert.deepEqual(sorted("float", [-0.5, 0, 0.25, 1e300]), [-0.5, 0, 0.25, 1e300])
})

test("integers beyond 2^53 travel as text and sort by value", () => {
  const values = ["-9223372036854775808", "-10", "9", "9007199254740992", "9007199254740993", "10000000000000000"]
  assert.deepEqual(sorted("bigint", values), values)
})

test("decimals sort by value", () => {
  const values = ["-12.50", "-2.00", "-0.01", "0.00", "0.10", "9.99", "10.00", "123456789012345678.01"]
  assert.deepEqual(sorted("decimal", values), values)
})

test("decimals of different scale with the same value are a tie", () => {
  const compare = compareRecords([{ field: "price", type: "decimal" }])
  assert.equal(compare({ price: "12.5" }, { price: "12.50" }), 0)
  assert.equal(compare({ price: 12.5 }, { price: "12.50" }), 0)
})

test("false comes before true", () => {
  assert.deepEqual(sorted("boolean", [null, false, true]), [null, false, true])
})

test("dates, times and UUIDs sort as their text", () => {
  const moments = ["2026-11-20T14:40:37.000000Z", "2026-11-20T14:40:37.123456Z", "2026-12-01T00:00:00.000000Z"]
  assert.deepEqual(sorted("datetime", moments), moments)
  assert.deepEqual(sorted("date", ["2025-12-31", "2026-01-01"]), ["2025-12-31", "2026-01-01"])
})

test("ties go to the next field, each in its own direction", () => {
  const rows = [
    { id: "3", due: "2026-02-01" },
    { id: "1", due: "2026-01-01" },
    { id: "2", due: "2026-01-01" },
    { id: "4", due: null },
  ]
  const sort = [{ field: "due", descending: true, type: "date" }, { field: "id", descending: false, type: "uuid" }]
  assert.deepEqual(rows.toReversed().sort(compareRecords(sort)), rows)
})

test("a dotted field is a path into nested objects", () => {
  const compare = compareRecords([{ field: "address.city", type: "text" }])
  assert.ok(compare({ address: { city: "Bonn" } }, { address: { city: "Ulm" } }) < 0)
  assert.ok(compare({ address: null }, { address: { city: "Ulm" } }) < 0)
})
