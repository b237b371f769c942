// Kotlin comes with the Android plugin from 9.0 on. These versions were not resolved: take those that your Android Studio offers.
plugins {
    id("com.android.application") version "9.0.0" apply false
    id("com.android.library") version "9.0.0" apply false
    id("org.jetbrains.kotlin.plugin.compose") version "2.2.10" apply false
}
