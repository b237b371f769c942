package edgedistill.sample

import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.remember
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.viewinterop.AndroidView
import androidx.core.content.ContextCompat
import androidx.lifecycle.compose.LocalLifecycleOwner
import edgedistill.models.quickstart.Frame
import edgedistill.models.quickstart.toFrame
import java.util.concurrent.Executors

/** The picture of the camera. Each frame that there is time for goes to [see], on a thread of its own; the others are dropped. */
@Composable
fun CameraView(see: (Frame) -> Unit, modifier: Modifier = Modifier) {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    val view = remember { PreviewView(context) }
    DisposableEffect(owner) {
        val thread = Executors.newSingleThreadExecutor()
        val preview = Preview.Builder().build()
        val analysis = ImageAnalysis.Builder().setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST).build()
        preview.surfaceProvider = view.surfaceProvider
        analysis.setAnalyzer(thread) { image -> image.use { see(it.toFrame()) } }
        val coming = ProcessCameraProvider.getInstance(context)
        var provider: ProcessCameraProvider? = null
        var gone = false
        coming.addListener({
            if (!gone) {
                provider = coming.get().also {
                    val camera =
                        if (it.hasCamera(CameraSelector.DEFAULT_BACK_CAMERA)) CameraSelector.DEFAULT_BACK_CAMERA
                        else CameraSelector.DEFAULT_FRONT_CAMERA
                    it.bindToLifecycle(owner, camera, preview, analysis)
                }
            }
        }, ContextCompat.getMainExecutor(context))
        onDispose {
            gone = true
            provider?.unbind(preview, analysis)
            thread.shutdown()
        }
    }
    AndroidView(factory = { view }, modifier = modifier)
}
