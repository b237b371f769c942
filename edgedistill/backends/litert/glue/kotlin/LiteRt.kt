package edgedistill.glue

import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Runs `.tflite` files with the Interpreter of LiteRT, on the CPU.
 *
 * Delegates: `xnnpack`, the default, and `none`. Its libraries are aligned to pages of 16 KB from 1.4.0 on, by its
 * maintainers' account.
 *
 * @property version of com.google.ai.edge.litert:litert in build.gradle.kts. The library tells only the version of the
 *   TensorFlow Lite in it.
 */
public class LiteRt(override val version: String) : ModelRuntime {
    override val formats: Set<String> = setOf("litert")
    override val name: String = "litert"

    override fun open(bundle: BundleReader, artifact: Artifact, options: ModelOptions): Program {
        val xnnpack = when (options.delegate) {
            null, "xnnpack" -> true
            "none" -> false
            else -> throw ModelError.WrongInput("found the delegate ${options.delegate}, expected xnnpack or none")
        }
        val settings = Interpreter.Options()
        settings.setNumThreads(options.threads)
        settings.setUseXNNPACK(xnnpack)
        val interpreter = Interpreter(bundle.map(artifact.name), settings)
        try {
            return LiteRtProgram(interpreter, artifact, xnnpack)
        } catch (error: Exception) {
            interpreter.close()
            throw error
        }
    }
}

private class LiteRtProgram(
    private val interpreter: Interpreter,
    private val artifact: Artifact,
    xnnpack: Boolean,
) : Program {
    private val inputPlaces: Map<String, Int>
    private val outputPlaces: Map<String, Int>

    init {
        val signature = interpreter.signatureKeys.singleOrNull()
        inputPlaces = places(
            artifact.inputs,
            signature?.let { interpreter.getSignatureInputs(it).sortedWith(NUMBERED) },
            List(interpreter.inputTensorCount) { interpreter.getInputTensor(it).name() },
        ) { interpreter.getInputTensorFromSignature(it, signature).name() }
        outputPlaces = places(
            artifact.outputs,
            signature?.let { interpreter.getSignatureOutputs(it).sortedWith(NUMBERED) },
            List(interpreter.outputTensorCount) { interpreter.getOutputTensor(it).name() },
        ) { interpreter.getOutputTensorFromSignature(it, signature).name() }
    }

    override val delegate: String =
        if (xnnpack) "unknown: the Interpreter does not tell which operators XNNPACK took" else "none"

    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        val values = arrayOfNulls<Any>(inputPlaces.size)
        for ((name, place) in inputPlaces) {
            val tensor = inputs.getValue(name)
            val own = interpreter.getInputTensor(place)
            if (!own.shape().contentEquals(tensor.shape.toIntArray())) {
                interpreter.resizeInput(place, tensor.shape.toIntArray())
            }
            values[place] = if (own.dataType() == DataType.INT32) shortened(tensor).data else tensor.data
        }
        // With an empty map the outputs stay where they are, and are copied below.
        interpreter.runForMultipleInputsOutputs(values.requireNoNulls(), HashMap<Int, Any>())
        return artifact.outputs.associate { port ->
            val own = interpreter.getOutputTensor(outputPlaces.getValue(port.name))
            val type = typeOf(own.dataType())
            val memory = own.asReadOnlyBuffer().order(ByteOrder.nativeOrder())
            val copy = allocate(memory.remaining().toLong()).apply { put(memory).rewind() }
            port.name to widened(Tensor(type, own.shape().toList(), copy), port.dtype)
        }
    }

    override fun close(): Unit = interpreter.close()

    private fun places(
        ports: List<Port>,
        signatureNames: List<String>?,
        tensorNames: List<String>,
        tensorOf: (String) -> String,
    ): Map<String, Int> {
        if (signatureNames == null) return matchNames(ports, tensorNames).mapValues { tensorNames.indexOf(it.value) }
        return matchNames(ports, signatureNames).mapValues { tensorNames.indexOf(tensorOf(it.value)) }
    }
}

/** Names that end in numbers by these: args_10 comes behind args_9. */
private val NUMBERED: Comparator<String> =
    compareBy({ it.trimEnd { c -> c.isDigit() } }, { it.takeLastWhile { c -> c.isDigit() }.toIntOrNull() ?: -1 })

private fun typeOf(type: DataType): DType = when (type) {
    DataType.FLOAT32 -> DType.FLOAT32
    DataType.INT32 -> DType.INT32
    DataType.INT64 -> DType.INT64
    DataType.INT16 -> DType.INT16
    DataType.INT8 -> DType.INT8
    DataType.UINT8 -> DType.UINT8
    DataType.BOOL -> DType.BOOL
    else -> throw IllegalStateException("found an output of the type $type, expected numbers")
}

/** The converter makes int32 of int64. */
private fun shortened(tensor: Tensor): Tensor {
    if (tensor.dtype != DType.INT64) return tensor
    val memory: ByteBuffer = allocate(4L * tensor.count)
    for (i in 0 until tensor.count) memory.putInt(4 * i, Math.toIntExact(tensor.data.getLong(8 * i)))
    return Tensor(DType.INT32, tensor.shape, memory)
}

private fun widened(tensor: Tensor, expected: DType): Tensor {
    if (tensor.dtype != DType.INT32 || expected != DType.INT64) return tensor
    val memory: ByteBuffer = allocate(8L * tensor.count)
    for (i in 0 until tensor.count) memory.putLong(8 * i, tensor.data.getInt(4 * i).toLong())
    return Tensor(DType.INT64, tensor.shape, memory)
}
