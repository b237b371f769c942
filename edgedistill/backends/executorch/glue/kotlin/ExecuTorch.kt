package edgedistill.glue

import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.pytorch.executorch.DType as TorchType
import org.pytorch.executorch.Tensor as TorchTensor

/**
 * Runs `.pte` files with ExecuTorch.
 *
 * The delegate is part of the file, so none can be asked for. Its libraries are aligned to pages of 16 KB from 1.0 on,
 * by its maintainers' account.
 *
 * @property version of org.pytorch:executorch-android in build.gradle.kts; the library does not tell its own
 */
public class ExecuTorch(override val version: String) : ModelRuntime {
    override val formats: Set<String> = setOf("executorch")
    override val name: String = "executorch"

    override fun open(bundle: BundleReader, artifact: Artifact, options: ModelOptions): Program {
        if (options.delegate != null) {
            throw ModelError.WrongInput(
                "found the delegate ${options.delegate}, expected none: it is part of the file, choose another one",
            )
        }
        val path = bundle.file(artifact.name, artifact.sha256).path
        return ExecuTorchProgram(Module.load(path, Module.LOAD_MODE_MMAP, options.threads), artifact)
    }
}

private class ExecuTorchProgram(private val module: Module, private val artifact: Artifact) : Program {
    override val delegate: String =
        module.getMethodMetadata(FORWARD).backends.distinct().joinToString(", ").ifEmpty { "none" }

    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        // A .pte has no names: inputs and outputs are in the order of the signature.
        val values = artifact.inputs.map { EValue.from(toTorch(inputs.getValue(it.name))) }
        val results = module.execute(FORWARD, *values.toTypedArray())
        check(results.size == artifact.outputs.size) {
            "found ${results.size} outputs, expected ${artifact.outputs.map { it.name }}"
        }
        return artifact.outputs.zip(results).associate { (port, result) -> port.name to fromTorch(result.toTensor()) }
    }

    override fun close(): Unit = module.destroy()

    private companion object {
        const val FORWARD = "forward"
    }
}

private fun toTorch(tensor: Tensor): TorchTensor {
    val shape = LongArray(tensor.shape.size) { tensor.shape[it].toLong() }
    // Views of the same memory: ExecuTorch reads direct buffers without a copy.
    val data = tensor.data
    return when (tensor.dtype) {
        DType.FLOAT32 -> TorchTensor.fromBlob(data.asFloatBuffer(), shape)
        DType.FLOAT16 -> TorchTensor.fromBlob(data.asShortBuffer(), shape)
        DType.FLOAT64 -> TorchTensor.fromBlob(data.asDoubleBuffer(), shape)
        DType.INT8 -> TorchTensor.fromBlob(data, shape)
        DType.UINT8 -> TorchTensor.fromBlobUnsigned(data, shape)
        DType.INT32 -> TorchTensor.fromBlob(data.asIntBuffer(), shape)
        DType.INT64 -> TorchTensor.fromBlob(data.asLongBuffer(), shape)
        else -> throw IllegalArgumentException("ExecuTorch for Android takes no ${tensor.dtype}")
    }
}

/** A copy: the next run overwrites the memory of [tensor]. */
private fun fromTorch(tensor: TorchTensor): Tensor {
    val shape = tensor.shape().map { it.toInt() }
    val count = shape.fold(1L) { product, size -> product * size }
    fun tensorOf(dtype: DType, fill: (ByteBuffer) -> Unit): Tensor =
        Tensor(dtype, shape, allocate(count * dtype.size).also(fill).rewound())

    return when (tensor.dtype()) {
        TorchType.FLOAT -> tensorOf(DType.FLOAT32) { it.asFloatBuffer().put(tensor.dataAsFloatArray) }
        TorchType.HALF -> tensorOf(DType.FLOAT16) { it.asShortBuffer().put(tensor.dataAsShortArray) }
        TorchType.DOUBLE -> tensorOf(DType.FLOAT64) { it.asDoubleBuffer().put(tensor.dataAsDoubleArray) }
        TorchType.INT8 -> tensorOf(DType.INT8) { it.put(tensor.dataAsByteArray) }
        TorchType.UINT8 -> tensorOf(DType.UINT8) { it.put(tensor.dataAsUnsignedByteArray) }
        TorchType.INT32 -> tensorOf(DType.INT32) { it.asIntBuffer().put(tensor.dataAsIntArray) }
        TorchType.INT64 -> tensorOf(DType.INT64) { it.asLongBuffer().put(tensor.dataAsLongArray) }
        else -> throw IllegalStateException("ExecuTorch for Android gives no ${tensor.dtype()}")
    }
}

private fun ByteBuffer.rewound(): ByteBuffer {
    rewind()
    return order(ByteOrder.nativeOrder())
}
