package org.pytorch.executorch

import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.DoubleBuffer
import java.nio.FloatBuffer
import java.nio.IntBuffer
import java.nio.LongBuffer
import java.nio.ShortBuffer

public enum class DType { UINT8, INT8, INT16, INT32, INT64, HALF, FLOAT, DOUBLE, BOOL }

public class EValue {
    public fun toTensor(): Tensor = TODO()

    public companion object {
        @JvmStatic
        public fun from(tensor: Tensor): EValue = TODO()
    }
}

public class MethodMetadata internal constructor(public val name: String, public val backends: Array<String>)

public open class Module : Closeable {
    public open fun execute(methodName: String, vararg inputs: EValue): Array<EValue> = TODO()

    public open fun getMethodMetadata(name: String): MethodMetadata = TODO()

    public open fun destroy(): Unit = TODO()

    override fun close(): Unit = TODO()

    public companion object {
        public const val LOAD_MODE_MMAP: Int = 1

        @JvmStatic
        public fun load(modelPath: String?, loadMode: Int = 0, numThreads: Int = 0): Module = TODO()
    }
}

public abstract class Tensor {
    public fun shape(): LongArray = TODO()

    public abstract fun dtype(): DType

    public open val dataAsByteArray: ByteArray get() = TODO()
    public open val dataAsShortArray: ShortArray get() = TODO()
    public open val dataAsUnsignedByteArray: ByteArray get() = TODO()
    public open val dataAsIntArray: IntArray get() = TODO()
    public open val dataAsFloatArray: FloatArray get() = TODO()
    public open val dataAsLongArray: LongArray get() = TODO()
    public open val dataAsDoubleArray: DoubleArray get() = TODO()

    public companion object {
        @JvmStatic
        public fun fromBlobUnsigned(data: ByteBuffer, shape: LongArray): Tensor = TODO()

        @JvmStatic
        public fun fromBlob(data: ByteBuffer, shape: LongArray): Tensor = TODO()

        @JvmStatic
        public fun fromBlob(data: IntBuffer, shape: LongArray): Tensor = TODO()

        @JvmStatic
        public fun fromBlob(data: FloatBuffer, shape: LongArray): Tensor = TODO()

        @JvmStatic
        public fun fromBlob(data: ShortBuffer, shape: LongArray): Tensor = TODO()

        @JvmStatic
        public fun fromBlob(data: LongBuffer, shape: LongArray): Tensor = TODO()

        @JvmStatic
        public fun fromBlob(data: DoubleBuffer, shape: LongArray): Tensor = TODO()
    }
}
