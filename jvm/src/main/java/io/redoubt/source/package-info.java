/** The Data Source {@code sealed} as Spark's planner sees it; planning, decryption and parsing are Python's. */
package io.redoubt.source;
