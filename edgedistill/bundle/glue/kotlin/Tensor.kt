package edgedistill.glue

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Type of the numbers of a tensor.
 *
 * @property size bytes of one number
 */
public enum class DType(public val size: Int) {
    FLOAT32(4),
    FLOAT16(2),
    FLOAT64(8),
    INT8(1),
    UINT8(1),
    INT16(2),
    UINT16(2),
    INT32(4),
    INT64(8),
    BOOL(1);

    /** The name in the manifest, such as `float32`. */
    override fun toString(): String = name.lowercase()

    internal companion object {
        fun of(text: String): DType? = entries.find { it.toString() == text }
    }
}

/**
 * A named tensor's value: numbers of one type in row-major order, in memory that a runtime can read without a copy.
 *
 * @property dtype type of the numbers
 * @property shape sizes, such as `[1, 3, 32, 32]`; empty for a single number
 * @param data the numbers in the machine's byte order. A direct buffer is used as it is, another one is copied.
 * @throws ModelError.WrongInput where [data] has more or fewer bytes than [shape] needs
 */
public class Tensor(public val dtype: DType, public val shape: List<Int>, data: ByteBuffer) {
    private val memory: ByteBuffer = if (data.isDirect) data.slice() else copied(data)

    init {
        val expected = shape.fold(dtype.size.toLong()) { product, size -> product * size }
        if (shape.any { it < 0 } || memory.capacity().toLong() != expected) {
            throw ModelError.WrongInput(
                "found ${memory.capacity()} bytes for $dtype$shape, expected $expected: give as many as the shape has",
            )
        }
    }

    /** A view of the numbers, in the machine's byte order, from position 0 to the end. */
    public val data: ByteBuffer get() = memory.duplicate().order(ByteOrder.nativeOrder())

    /** How many numbers there are. */
    public val count: Int get() = memory.capacity() / dtype.size

    /** All numbers as floating-point numbers; `bool` becomes 0 and 1. */
    public fun toDoubles(): DoubleArray {
        val view = data
        return DoubleArray(count) { i ->
            when (dtype) {
                DType.FLOAT32 -> view.getFloat(4 * i).toDouble()
                DType.FLOAT16 -> halfToDouble(view.getShort(2 * i))
                DType.FLOAT64 -> view.getDouble(8 * i)
                DType.INT8 -> view.get(i).toDouble()
                DType.UINT8, DType.BOOL -> (view.get(i).toInt() and 0xff).toDouble()
                DType.INT16 -> view.getShort(2 * i).toDouble()
                DType.UINT16 -> (view.getShort(2 * i).toInt() and 0xffff).toDouble()
                DType.INT32 -> view.getInt(4 * i).toDouble()
                DType.INT64 -> view.getLong(8 * i).toDouble()
            }
        }
    }

    override fun toString(): String = "$dtype$shape"

    public companion object {
        /** A tensor of float32 with the [values] in row-major order. */
        public fun of(values: FloatArray, vararg shape: Int): Tensor {
            val memory = allocate(4L * values.size)
            memory.asFloatBuffer().put(values)
            return Tensor(DType.FLOAT32, shape.toList(), memory)
        }

        /** A tensor of uint8 with the [values] in row-major order. */
        public fun of(values: ByteArray, vararg shape: Int): Tensor =
            Tensor(DType.UINT8, shape.toList(), ByteBuffer.wrap(values))

        /** A tensor of zeros. */
        public fun zeros(dtype: DType, shape: List<Int>): Tensor =
            Tensor(dtype, shape, allocate(shape.fold(dtype.size.toLong()) { product, size -> product * size }))
    }
}

/** Direct memory of [bytes] zeros in the machine's byte order. */
internal fun allocate(bytes: Long): ByteBuffer {
    if (bytes !in 0..Int.MAX_VALUE) throw ModelError.WrongInput("found a tensor of $bytes bytes, expected at most 2 GB")
    return ByteBuffer.allocateDirect(bytes.toInt()).order(ByteOrder.nativeOrder())
}

private fun copied(data: ByteBuffer): ByteBuffer {
    val memory = allocate(data.remaining().toLong()).put(data.duplicate())
    memory.rewind()
    return memory
}

/** The number that the 16 bits of an IEEE 754 half stand for. */
private fun halfToDouble(bits: Short): Double {
    val exponent = (bits.toInt() shr 10) and 0x1f
    val fraction = bits.toInt() and 0x3ff
    val size = when (exponent) {
        0 -> Math.scalb(fraction.toDouble(), -24)
        31 -> if (fraction == 0) Double.POSITIVE_INFINITY else Double.NaN
        else -> Math.scalb((fraction + 1024).toDouble(), exponent - 25)
    }
    return if (bits < 0) -size else size
}
