package edgedistill.glue

import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val MAGIC = "\u0093NUMPY"
private val DESCR = Regex("'descr': *'([<|])([a-z]\\d+)'")
private val ORDER = Regex("'fortran_order': *False")
private val SHAPE = Regex("'shape': *\\(([\\d, ]*)\\)")
private val TYPES = mapOf(
    "f4" to DType.FLOAT32, "f2" to DType.FLOAT16, "f8" to DType.FLOAT64, "i1" to DType.INT8, "u1" to DType.UINT8,
    "i2" to DType.INT16, "u2" to DType.UINT16, "i4" to DType.INT32, "i8" to DType.INT64, "b1" to DType.BOOL,
)

/**
 * The array in a `.npy` file of NumPy: little endian, in C order, of a type that [DType] has.
 *
 * @param bytes the whole file
 * @param path the file's name in messages
 */
internal fun readNpy(bytes: ByteArray, path: String): Tensor {
    fun wrong(reason: String): Nothing =
        throw ModelError.DamagedManifest("$path is named as a .npy file, but $reason")

    if (bytes.size < 12 || String(bytes, 0, 6, Charsets.ISO_8859_1) != MAGIC) wrong("does not start as one")
    val file = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    val start = if (bytes[6] < 2) 10 else 12
    val length = if (bytes[6] < 2) file.getShort(8).toInt() and 0xffff else file.getInt(8)
    if (length < 0 || length > bytes.size - start) wrong("its header is cut off")
    val header = String(bytes, start, length, Charsets.ISO_8859_1)
    val descr = DESCR.find(header)?.groupValues?.get(2)
    val dtype = TYPES[descr] ?: wrong("has the header $header, expected little-endian numbers")
    if (ORDER.find(header) == null) wrong("is in Fortran order, expected C order")
    val sizes = SHAPE.find(header)?.groupValues?.get(1) ?: wrong("has no shape")
    val shape = sizes.split(',').map { it.trim() }.filter { it.isNotEmpty() }
        .map { it.toIntOrNull() ?: wrong("has a size of $it") }
    val count = shape.fold(dtype.size.toLong()) { product, size -> product * size }
    val data = bytes.size - start - length
    if (count != data.toLong()) wrong("has $data bytes of numbers, expected $count for $dtype$shape")
    file.position(start + length)
    return Tensor(dtype, shape, nativeOrder(file.slice(), dtype.size))
}

/** The numbers of [size] bytes in the machine's byte order; all that Android runs on is little endian already. */
private fun nativeOrder(data: ByteBuffer, size: Int): ByteBuffer {
    if (ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN) return data
    val turned = ByteArray(data.remaining()) { data[it / size * size + size - 1 - it % size] }
    return ByteBuffer.wrap(turned)
}

/**
 * Sample [i] of [samples] `[count, ...]`, without a copy.
 *
 * @param rank number of dimensions of the input or output: with as many as [samples] has, a sample is a batch of 1
 */
internal fun sample(samples: Tensor, i: Int, rank: Int): Tensor {
    val bytes = samples.data.capacity() / samples.shape[0]
    val view = samples.data
    view.position(i * bytes).limit((i + 1) * bytes)
    val rest = samples.shape.drop(1)
    return Tensor(samples.dtype, if (rank == samples.shape.size) listOf(1) + rest else rest, view)
}
