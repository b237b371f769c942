package edgedistill.sample

import android.app.Application
import android.graphics.ImageDecoder
import android.net.Uri
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import edgedistill.models.quickstart.AssetBundle
import edgedistill.models.quickstart.Frame
import edgedistill.models.quickstart.ImageModel
import edgedistill.models.quickstart.ModelError
import edgedistill.models.quickstart.Score
import edgedistill.models.quickstart.toFrame
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import java.io.IOException

/** The folder of the bundle in the assets, as `kotlin/build.gradle.kts` of the bundle names it. */
const val MODEL_FOLDER = "quickstart-model"

/** The model, and what it said last. State of the screen is written on the main thread only. */
class Classifier(app: Application) : AndroidViewModel(app) {
    /** Artifact, runtime and delegate; null while the model is being loaded. */
    var info by mutableStateOf<String?>(null)
        private set

    /** The most probable labels of the last picture. */
    var scores by mutableStateOf<List<Score>>(emptyList())
        private set

    /** Milliseconds of the last predictions, preprocessing included. */
    var latencies by mutableStateOf<List<Double>>(emptyList())
        private set

    /** What the self-test found, or what went wrong. */
    var message by mutableStateOf<String?>(null)
        private set

    @Volatile
    private var model: ImageModel? = null

    init {
        viewModelScope.launch {
            attempt {
                val loaded = ImageModel.load(AssetBundle(getApplication<Application>(), MODEL_FOLDER))
                loaded.warmUp()
                model = loaded
                loaded.info.toString()
            }?.let { info = it }
        }
    }

    /** Says what the picture of a camera shows. Called on the camera's thread, which it holds until it is done. */
    fun see(frame: Frame) {
        val ready = model ?: return
        try {
            val began = System.nanoTime()
            val prediction = ready.predict(frame)
            show(prediction.top(TOP), (System.nanoTime() - began) / 1e6)
        } catch (_: ModelError.Closed) {
            // The screen is gone.
        } catch (error: ModelError) {
            viewModelScope.launch { message = error.message }
        }
    }

    /** Says what the picture at [uri] shows. */
    fun see(uri: Uri) {
        viewModelScope.launch {
            attempt {
                val source = ImageDecoder.createSource(getApplication<Application>().contentResolver, uri)
                // The decoder turns the picture upright itself.
                val bitmap = ImageDecoder.decodeBitmap(source) { decoder, image, _ ->
                    decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
                    val longer = maxOf(image.size.width, image.size.height)
                    decoder.setTargetSampleSize(maxOf(1, longer / LONGEST_SIDE))
                }
                see(bitmap.toFrame())
            }
        }
    }

    /** Runs the golden inputs and frames of the bundle on this phone. */
    fun selfTest() {
        val ready = model ?: return
        viewModelScope.launch { message = attempt { ready.selfTest().describe() } ?: message }
    }

    override fun onCleared() {
        model?.close()
    }

    private fun show(top: List<Score>, ms: Double) {
        viewModelScope.launch {
            scores = top
            latencies = (latencies + ms).takeLast(KEPT)
        }
    }

    /** Does [work] off the main thread; returns null where it failed, and says why in [message]. */
    private suspend fun <T> attempt(work: () -> T): T? =
        try {
            withContext(Dispatchers.Default) { work() }
        } catch (error: ModelError) {
            message = error.message
            null
        } catch (error: IOException) {
            message = error.message ?: "the picture cannot be read"
            null
        }

    private companion object {
        const val TOP = 3
        const val KEPT = 50
        const val LONGEST_SIDE = 2048
    }
}
