package io.redoubt.source;

import org.apache.spark.sql.types.Decimal;
import org.apache.spark.sql.vectorized.ArrowColumnVector;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarArray;
import org.apache.spark.sql.vectorized.ColumnarMap;
import org.apache.spark.unsafe.types.BinaryView;
import org.apache.spark.unsafe.types.CalendarInterval;
import org.apache.spark.unsafe.types.TimestampNanosVal;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * A column that its Python runner will fill again for the next batch.
 *
 * <p>Not an {@link ArrowColumnVector}: Spark 4.3 queues batches of those while a pandas or Arrow function's worker is busy ({@code
 * spark.sql.execution.arrow.pythonUDF.columnarInput.enabled}), and reads them when the next batch has come. It does so even with the
 * results of its own runners, so columns that owned their memory would not make two such functions in a row right.
 */
final class BorrowedColumn extends ColumnVector {
    private final ArrowColumnVector arrow;

    BorrowedColumn(ArrowColumnVector arrow) {
        super(arrow.dataType());
        this.arrow = arrow;
    }

    /** Closes nothing: the runner owns the memory. */
    @Override
    public void close() {}

    @Override
    public boolean hasNull() {
        return arrow.hasNull();
    }

    @Override
    public int numNulls() {
        return arrow.numNulls();
    }

    @Override
    public boolean isNullAt(int row) {
        return arrow.isNullAt(row);
    }

    @Override
    public boolean getBoolean(int row) {
        return arrow.getBoolean(row);
    }

    @Override
    public byte getByte(int row) {
        return arrow.getByte(row);
    }

    @Override
    public short getShort(int row) {
        return arrow.getShort(row);
    }

    @Override
    public int getInt(int row) {
        return arrow.getInt(row);
    }

    @Override
    public long getLong(int row) {
        return arrow.getLong(row);
    }

    @Override
    public float getFloat(int row) {
        return arrow.getFloat(row);
    }

    @Override
    public double getDouble(int row) {
        return arrow.getDouble(row);
    }

    @Override
    public ColumnarArray getArray(int row) {
        return arrow.getArray(row);
    }

    @Override
    public ColumnarMap getMap(int row) {
        return arrow.getMap(row);
    }

    @Override
    public Decimal getDecimal(int row, int precision, int scale) {
        return arrow.getDecimal(row, precision, scale);
    }

    @Override
    public UTF8String getUTF8String(int row) {
        return arrow.getUTF8String(row);
    }

    @Override
    public byte[] getBinary(int row) {
        return arrow.getBinary(row);
    }

    @Override
    public BinaryView getBinaryView(int row) {
        return arrow.getBinaryView(row);
    }

    @Override
    public CalendarInterval getInterval(int row) {
        return arrow.getInterval(row);
    }

    @Override
    public TimestampNanosVal getTimestampNTZNanos(int row) {
        return arrow.getTimestampNTZNanos(row);
    }

    @Override
    public TimestampNanosVal getTimestampLTZNanos(int row) {
        return arrow.getTimestampLTZNanos(row);
    }

    @Override
    public ColumnVector getChild(int ordinal) {
        return arrow.getChild(ordinal);
    }
}
