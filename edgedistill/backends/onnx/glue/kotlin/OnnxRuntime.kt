package edgedistill.glue

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.nio.ByteOrder

/**
 * Runs `.onnx` and `.ort` files with ONNX Runtime.
 *
 * Delegates: `cpu`, the default, `xnnpack` and `nnapi`; what these do not take runs on the CPU. Its libraries are
 * aligned to pages of 16 KB from 1.27 on at the latest, by its users' account.
 */
public class OnnxRuntime : ModelRuntime {
    override val formats: Set<String> = setOf("onnx", "ort")
    override val name: String = "onnxruntime"
    override val version: String get() = OrtEnvironment.getEnvironment().version

    override fun open(bundle: BundleReader, artifact: Artifact, options: ModelOptions): Program {
        val settings = OrtSession.SessionOptions()
        try {
            configure(settings, options)
            val environment = OrtEnvironment.getEnvironment()
            val session = environment.createSession(bundle.map(artifact.name), settings)
            return OnnxProgram(environment, session, settings, artifact, options.delegate)
        } catch (error: Exception) {
            settings.close()
            throw error
        }
    }

    private fun configure(settings: OrtSession.SessionOptions, options: ModelOptions) {
        settings.setInterOpNumThreads(1)
        settings.setIntraOpNumThreads(options.threads)
        // By default, products with weights of 4 or 8 bits round their other side to 8 bits: 1 asks for float32.
        settings.addConfigEntry("session.qdq_matmulnbits_accuracy_level", "1")
        // On the emulator, int8 kernels without this saturate.
        settings.addConfigEntry("session.x64quantprecision", "1")
        when (options.delegate) {
            null, "cpu" -> Unit
            "xnnpack" -> {
                // XNNPACK has threads of its own.
                settings.setIntraOpNumThreads(1)
                settings.addXnnpack(mapOf("intra_op_num_threads" to options.threads.toString()))
            }
            "nnapi" -> settings.addNnapi()
            else -> {
                val reason = "found the delegate ${options.delegate}, expected cpu, xnnpack or nnapi"
                throw ModelError.WrongInput(reason)
            }
        }
    }
}

private class OnnxProgram(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    private val settings: OrtSession.SessionOptions,
    private val artifact: Artifact,
    asked: String?,
) : Program {
    private val inputNames = matchNames(artifact.inputs, session.inputNames.toList())
    private val outputNames = matchNames(artifact.outputs, session.outputNames.toList())

    override val delegate: String =
        if (asked == null || asked == "cpu") "cpu" else "unknown: a session does not tell which operators $asked took"

    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        val given = HashMap<String, OnnxTensor>()
        try {
            for ((name, own) in inputNames) {
                val tensor = inputs.getValue(name)
                val shape = LongArray(tensor.shape.size) { tensor.shape[it].toLong() }
                given[own] = OnnxTensor.createTensor(environment, tensor.data, shape, typeOf(tensor.dtype))
            }
            return session.run(given).use { results ->
                artifact.outputs.associate { it.name to copied(results, outputNames.getValue(it.name), it) }
            }
        } finally {
            given.values.forEach { it.close() }
        }
    }

    override fun close() {
        session.close()
        // A session uses its options as long as it is open.
        settings.close()
    }

    private fun copied(results: OrtSession.Result, own: String, port: Port): Tensor {
        val value = results.get(own).get() as OnnxTensor
        val info = value.info
        val dtype = DType.entries.find { it != DType.UINT16 && typeOf(it) == info.type }
        check(dtype == port.dtype) { "found the type ${info.type} for the output ${port.name}, expected ${port.dtype}" }
        return Tensor(port.dtype, info.shape.map { it.toInt() }, value.byteBuffer.order(ByteOrder.nativeOrder()))
    }
}

private fun typeOf(type: DType): OnnxJavaType = when (type) {
    DType.FLOAT32 -> OnnxJavaType.FLOAT
    DType.FLOAT16 -> OnnxJavaType.FLOAT16
    DType.FLOAT64 -> OnnxJavaType.DOUBLE
    DType.INT8 -> OnnxJavaType.INT8
    DType.UINT8 -> OnnxJavaType.UINT8
    DType.INT16 -> OnnxJavaType.INT16
    DType.INT32 -> OnnxJavaType.INT32
    DType.INT64 -> OnnxJavaType.INT64
    DType.BOOL -> OnnxJavaType.BOOL
    DType.UINT16 -> throw IllegalArgumentException("ONNX Runtime for Java takes no uint16")
}
